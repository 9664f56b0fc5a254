/* A stand-in for NVIDIA's libnvidia-ml.so.1 that answers as a text file beside it says, read anew at each call. The tests compile it, since
 * no machine of theirs has a GPU. The file has lines of KEY=VALUE; NAME.state lies beside NAME:
 *
 *   init=18             what nvmlInit_v2 returns
 *   count=2             how many GPUs there are
 *   0.kind=mig          how GPU 0 answers: `full` (the default), `nosensor`, `mig`, `vgpu`, `lost`, `reset` or `forbidden`
 *   0.xids=31 79        the XIDs that the driver has reported so far, oldest first
 *   0.energy=5000       its energy counter, in mJ
 *
 * Which call answers what in which case follows NVIDIA's NVML API reference. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, TIMEOUT = 10, GPU_IS_LOST = 15, RESET_REQUIRED = 16 };
enum { MAX_GPUS = 16, CRITICAL_XID_ERROR = 8, MEMORY_TEMP = 82, UNSIGNED_INT = 1 };

static int gpus[MAX_GPUS];
static unsigned xids_told[MAX_GPUS];

static void state(const char *key, char *value, size_t size, const char *otherwise) {
  snprintf(value, size, "%s", otherwise);
  Dl_info self;
  if (!dladdr((void *)state, &self)) return;
  char path[4096], line[1024];
  snprintf(path, sizeof path, "%s.state", self.dli_fname);
  FILE *file = fopen(path, "r");
  if (!file) return;
  size_t length = strlen(key);
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(line, key, length) && line[length] == '=') snprintf(value, size, "%s", line + length + 1);
  }
  fclose(file);
}

static long number(const char *key, long otherwise) {
  char value[64];
  state(key, value, sizeof value, "");
  return *value ? strtol(value, NULL, 10) : otherwise;
}

static void of_gpu(const void *device, const char *what, char *value, size_t size, const char *otherwise) {
  char key[64];
  snprintf(key, sizeof key, "%d.%s", (int)((const int *)device - gpus), what);
  state(key, value, size, otherwise);
}

static int is(const void *device, const char *kind) {
  char value[64];
  of_gpu(device, "kind", value, sizeof value, "full");
  return !strcmp(value, kind);
}

/* What every reading returns of a GPU that is not there. */
static int reach(const void *device) { return is(device, "lost") ? GPU_IS_LOST : is(device, "reset") ? RESET_REQUIRED : SUCCESS; }

static int reading(const void *device, int supported, unsigned value, unsigned *out) {
  int reached = reach(device);
  if (reached != SUCCESS) return reached;
  if (!supported) return NOT_SUPPORTED;
  *out = value;
  return SUCCESS;
}

int nvmlInit_v2(void) { return (int)number("init", SUCCESS); }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
  snprintf(version, length, "570.86.16");
  return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = (unsigned)number("count", 1);
  return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = &gpus[index];
  return is(*device, "forbidden") ? NO_PERMISSION : reach(*device);
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
  of_gpu(device, "name", name, length, "NVIDIA H100 80GB HBM3");
  return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  snprintf(uuid, length, "GPU-stub-%d", (int)((int *)device - gpus));
  return SUCCESS;
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory) {
  int reached = reach(device);
  if (reached != SUCCESS) return reached;
  memory->total = 81559ULL << 20;
  memory->reserved = 0;
  memory->used = 1000ULL << 20;
  memory->free = memory->total - memory->used;
  return SUCCESS;
}

/* Utilisation is of instances, not of the GPU, where MIG is on. */
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
  unsigned gpu;
  int answer = reading(device, !is(device, "mig"), 37, &gpu);
  if (answer == SUCCESS) rates[0] = gpu, rates[1] = 11;
  return answer;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
  (void)sensor;
  return reading(device, !is(device, "vgpu"), 54, celsius);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { return reading(device, !is(device, "vgpu"), 123456, milliwatts); }

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz) { return reading(device, !is(device, "vgpu"), type == 2 ? 2619 : 1980, mhz); }

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  char value[64];
  of_gpu(device, "energy", value, sizeof value, "5000");
  unsigned energy;
  int answer = reading(device, !is(device, "vgpu"), (unsigned)atoi(value), &energy);
  if (answer == SUCCESS) *millijoules = energy;
  return answer;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
  unsigned none;
  int answer = reading(device, !is(device, "vgpu"), 0, &none);
  if (answer == SUCCESS) *reasons = none;
  return answer;
}

struct field { unsigned id, scope; long long at, took; int type, answer; union { unsigned ui; unsigned long long ull; double d; } value; };

int nvmlDeviceGetFieldValues(void *device, int count, struct field *fields) {
  int reached = reach(device);
  if (reached != SUCCESS) return reached;
  for (int i = 0; i < count; i++) {
    fields[i].type = UNSIGNED_INT;
    fields[i].answer = fields[i].id == MEMORY_TEMP && !is(device, "nosensor") && !is(device, "vgpu") ? SUCCESS : NOT_SUPPORTED;
    fields[i].value.ui = 61;
  }
  return SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(void *device, unsigned long long *types) {
  *types = is(device, "vgpu") ? 0 : CRITICAL_XID_ERROR;
  return reach(device);
}

int nvmlEventSetCreate(void **set) { return *set = calloc(1, sizeof(void *)), SUCCESS; }
int nvmlEventSetFree(void *set) { return free(set), SUCCESS; }

int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void **set) {
  (void)types;
  *set = device;
  return reach(device);
}

struct event { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

int nvmlEventSetWait_v2(void **set, struct event *event, unsigned timeout_ms) {
  (void)timeout_ms;
  char value[256], *rest = value;
  of_gpu(*set, "xids", value, sizeof value, "");
  int gpu = (int)((int *)*set - gpus);
  unsigned skip = xids_told[gpu];
  for (char *code = strtok_r(value, " ", &rest); code; code = strtok_r(NULL, " ", &rest)) {
    if (skip-- > 0) continue;
    xids_told[gpu]++;
    event->device = *set;
    event->type = CRITICAL_XID_ERROR;
    event->data = strtoull(code, NULL, 10);
    return SUCCESS;
  }
  return TIMEOUT;
}
