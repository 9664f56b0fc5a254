//! Independent runs, as many at once as there are processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What comes of each item, in the order of the items. The first error of an item ends its thread, and is returned.
pub fn in_parallel<I: Sync, T: Send, E: Send>(items: &[I], one: impl Fn(&I) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(done) };
            done.push((at, one(item)?));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let parts = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect::<Result<Vec<Vec<(usize, T)>>, E>>()
    })?;
    let mut all: Vec<(usize, T)> = parts.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..500).collect();
        assert_eq!(in_parallel(&items, |item| Ok::<u64, ()>(item * 2)).unwrap(), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(in_parallel(&items, |item| if *item == 300 { Err(*item) } else { Ok(()) }), Err(300));
        assert_eq!(in_parallel(&[], |item: &u64| Ok::<u64, ()>(*item)), Ok(Vec::new()));
    }
}
