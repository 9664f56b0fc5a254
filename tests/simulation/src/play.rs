//! Plays a run to its end: takes the events out at their times, and starts the processes.

use std::future::poll_fn;
use std::task::Poll;

use faultline_runtime::service::Process;
use faultline_runtime::wire::Spawner;

use super::cast::Role;
use super::net::Alarm;
use super::shells;
use super::stage::Stage;
use super::wire::connect;
use super::world::World;

/// Runs until everything has ended, a promise is broken, or it takes too long.
pub(crate) async fn play(world: World) {
    {
        let mut stage = world.lock();
        stage.begin();
        launch(&world, &mut stage);
    }
    let mut alarm = Some(Alarm::new(world.at(0)));
    poll_fn(|cx| {
        let mut stage = world.lock();
        let Some(mut alarm) = alarm.take().or_else(|| stage.net.alarm.take()) else { return Poll::Ready(()) };
        loop {
            let now = stage.net.now;
            while let Some(event) = stage.net.next_due(now) {
                if stage.is_over_after(event) {
                    return Poll::Ready(());
                }
                launch(&world, &mut stage);
            }
            let Some(next) = stage.net.next_at() else { return Poll::Ready(()) };
            alarm.set(next);
            if alarm.poll(cx).is_pending() {
                stage.net.alarm = Some(alarm);
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// The processes that are to start do so.
fn launch(world: &World, stage: &mut Stage) {
    for proc in std::mem::take(&mut stage.starting) {
        let role = stage.cast.role(proc);
        let service = match role {
            Role::Scheduler => "scheduler",
            Role::Worker(_) => "worker",
            Role::Detector => "fault-detector",
            Role::Submitter(_) => "generator",
        };
        let (nats, link) = (connect(world, proc, stage), &stage.net.links[proc]);
        let process = Process::over_any_wire(service, stage.cast.name(proc), link.shutdown.clone());
        Spawner::behind(link.gate.clone()).spawn(shells::live(world.clone(), proc, role, nats, process));
    }
}
