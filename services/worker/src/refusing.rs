//! Since when this worker has believed no leader. One message of a deposed leader is nothing to speak of, since that one stops within
//! seconds; a leader that is refused for longer cannot place anything here.

use std::time::Duration;

use tokio::time::Instant;

/// A deposed leader has stopped by then.
const WORTH_TELLING: Duration = Duration::from_secs(4);
/// Without another refusal for this long it is over.
const IS_OVER: Duration = Duration::from_secs(5);

/// The refusals since a leader was last believed.
#[derive(Debug, Default)]
pub(crate) struct Refusing {
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    since: Instant,
    last: Instant,
    epoch: u64,
    newest: u64,
}

impl Refusing {
    pub(crate) fn on_refused(&mut self, epoch: u64, newest: u64, now: Instant) {
        let since = self.refused.as_ref().filter(|refused| now - refused.last < IS_OVER).map_or(now, |refused| refused.since);
        self.refused = Some(Refused { since, last: now, epoch, newest });
    }

    /// Why nothing is taken here, in words; none when that is not so.
    pub(crate) fn standing(&self, now: Instant) -> Option<String> {
        let Refused { since, last, epoch, newest } = self.refused.as_ref()?;
        (now - *last < IS_OVER && *last - *since >= WORTH_TELLING).then(|| {
            format!(
                "it refuses the leader's epoch {epoch}, because it has heard of epoch {newest}, and the leader does not get a higher one; \
                 restart this worker"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_go_on_are_told_and_only_while_they_do() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusing = Refusing::default();
        refusing.on_refused(1, 232, at(0));
        refusing.on_refused(1, 232, at(2));
        assert_eq!(refusing.standing(at(3)), None, "a deposed leader that has not noticed yet");
        refusing.on_refused(1, 232, at(4));
        assert!(refusing.standing(at(5)).is_some_and(|reason| reason.contains("epoch 232")));
        assert_eq!(refusing.standing(at(9)), None, "no refusal has come for a while");
        refusing.on_refused(1, 232, at(20));
        assert_eq!(refusing.standing(at(20)), None);
    }
}
