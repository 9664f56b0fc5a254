// Waiting for something to become true, with a name for what did not.

export async function eventually(what, check, withinMs = 30_000) {
  const until = Date.now() + withinMs;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until)
      throw new Error(
        `within ${withinMs / 1000} s it did not happen that ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`,
      );
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
  }
}
