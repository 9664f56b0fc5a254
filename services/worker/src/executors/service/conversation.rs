//! One attempt's conversation with its executor, as a plain struct: answers and time go in, what follows comes out. Times are
//! milliseconds since the request.

use faultline_engine::agent::MAX_RESULT_CHARS;
use faultline_protocol::messages::exec::ExecReply;
use serde_json::Value;

use crate::executor::{ExecutorError, Output};

/// What follows from something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It goes on, with so much done, 0 to 1.
    GoOn { progress: f64 },
    /// `still_works`: whether the executor may still be at it, and has to be told to stop.
    Over { outcome: Result<Output, ExecutorError>, still_works: bool },
}

#[derive(Debug)]
enum State {
    Asked,
    Accepted { progress: f64, last_words: String },
}

#[derive(Debug)]
pub(super) struct Conversation {
    /// `exec.NAME`, for what is said of it.
    subject: String,
    silence_ms: u64,
    /// When something was heard last; at first the moment of the request.
    heard_at_ms: u64,
    state: State,
}

impl Conversation {
    pub(super) fn new(subject: String, silence_ms: u64) -> Self {
        Self { subject, silence_ms, heard_at_ms: 0, state: State::Asked }
    }

    /// When [`Conversation::on_time`] has to be called next.
    pub(super) fn silent_at_ms(&self) -> u64 {
        self.heard_at_ms.saturating_add(self.silence_ms)
    }

    /// An answer came, or something that cannot be read as one.
    pub(super) fn on_reply(&mut self, reply: Result<ExecReply, String>, now_ms: u64) -> Step {
        self.heard_at_ms = now_ms;
        match reply {
            // A late `accepted` takes nothing back.
            Ok(ExecReply::Accepted) => self.heard(None, String::new()),
            Ok(ExecReply::Progress { progress, text }) => self.heard(progress, text),
            Ok(ExecReply::Result { result }) => over(self.output(result)),
            Ok(ExecReply::Error { message, retry: true }) => over(Err(ExecutorError::Failed(message))),
            Ok(ExecReply::Error { message, retry: false }) => over(Err(ExecutorError::Final(message))),
            Err(reason) => self.give_up(format!("the executor of {} sent an answer that cannot be read: {reason}", self.subject)),
        }
    }

    /// NATS reports that the request's subject has no subscriber.
    pub(super) fn on_nobody(&self) -> Step {
        let problem = format!("no executor answers {}: start one", self.subject);
        over(Err(ExecutorError::Failed(problem)))
    }

    /// Time passed.
    pub(super) fn on_time(&self, now_ms: u64) -> Step {
        if now_ms < self.silent_at_ms() {
            return Step::GoOn { progress: self.progress() };
        }
        let seconds = self.silence_ms as f64 / 1000.0;
        let what = match &self.state {
            State::Asked => "it never accepted the job".to_owned(),
            State::Accepted { last_words, .. } if last_words.is_empty() => "it had accepted the job".to_owned(),
            State::Accepted { last_words, .. } => format!("its last words were: {last_words}"),
        };
        self.give_up(format!("no sign of life from the executor of {} for {seconds} s; {what}", self.subject))
    }

    fn progress(&self) -> f64 {
        match &self.state {
            State::Asked => 0.0,
            State::Accepted { progress, .. } => *progress,
        }
    }

    fn heard(&mut self, told: Option<f64>, text: String) -> Step {
        let known = std::mem::replace(&mut self.state, State::Asked);
        let (before, words_before) = match known {
            State::Asked => (0.0, String::new()),
            State::Accepted { progress, last_words } => (progress, last_words),
        };
        let progress = told.map_or(before, |progress| progress.clamp(0.0, 1.0));
        let last_words = if text.is_empty() { words_before } else { text };
        self.state = State::Accepted { progress, last_words };
        Step::GoOn { progress }
    }

    fn output(&self, result: Value) -> Result<Output, ExecutorError> {
        let text = match result {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let chars = text.chars().count();
        if chars > MAX_RESULT_CHARS {
            return Err(ExecutorError::Final(format!(
                "the result from {} has {chars} characters, more than the {MAX_RESULT_CHARS} that are kept: store it elsewhere, and return where",
                self.subject
            )));
        }
        Ok(Output::new(text))
    }

    fn give_up(&self, problem: String) -> Step {
        Step::Over { outcome: Err(ExecutorError::Failed(problem)), still_works: true }
    }
}

/// The executor has come to an end itself, or there is none.
fn over(outcome: Result<Output, ExecutorError>) -> Step {
    Step::Over { outcome, still_works: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn talk() -> Conversation {
        Conversation::new("exec.greet".into(), 10_000)
    }

    fn progress(progress: Option<f64>, text: &str) -> Result<ExecReply, String> {
        Ok(ExecReply::Progress { progress, text: text.into() })
    }

    fn result(result: Value) -> Result<ExecReply, String> {
        Ok(ExecReply::Result { result })
    }

    fn failure(step: Step) -> (ExecutorError, bool) {
        match step {
            Step::Over { outcome: Err(error), still_works } => (error, still_works),
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[test]
    fn a_job_is_accepted_progresses_and_ends_with_its_result() {
        let mut talk = talk();
        assert_eq!(talk.silent_at_ms(), 10_000);
        assert_eq!(talk.on_reply(Ok(ExecReply::Accepted), 100), Step::GoOn { progress: 0.0 });
        assert_eq!(talk.on_reply(progress(Some(0.25), ""), 5_000), Step::GoOn { progress: 0.25 });
        assert_eq!(talk.silent_at_ms(), 15_000);
        let done = Step::Over { outcome: Ok(Output::new("hello")), still_works: false };
        assert_eq!(talk.on_reply(result(json!("hello")), 6_000), done);
    }

    #[test]
    fn a_result_alone_is_enough_and_may_be_anything() {
        for (value, text) in
            [(json!(null), ""), (json!("a\nb"), "a\nb"), (json!(7), "7"), (json!({"a": [1.5, true]}), r#"{"a":[1.5,true]}"#)]
        {
            let step = talk().on_reply(result(value), 1);
            assert_eq!(step, Step::Over { outcome: Ok(Output::new(text)), still_works: false });
        }
    }

    #[test]
    fn progress_is_kept_within_its_bounds_and_without_a_number_it_is_a_sign_of_life() {
        let mut talk = talk();
        for (told, known) in [(Some(0.5), 0.5), (None, 0.5), (Some(7.0), 1.0), (Some(-1.0), 0.0)] {
            assert_eq!(talk.on_reply(progress(told, ""), 1), Step::GoOn { progress: known });
        }
        assert_eq!(talk.on_reply(progress(Some(0.5), ""), 2), Step::GoOn { progress: 0.5 });
        assert_eq!(talk.on_reply(Ok(ExecReply::Accepted), 3), Step::GoOn { progress: 0.5 }, "accepted takes nothing back");
    }

    #[test]
    fn silence_ends_the_attempt_and_says_how_far_it_was() {
        assert_eq!(talk().on_time(9_999), Step::GoOn { progress: 0.0 });
        let (error, still_works) = failure(talk().on_time(10_000));
        assert_eq!(
            error,
            ExecutorError::Failed("no sign of life from the executor of exec.greet for 10 s; it never accepted the job".into())
        );
        assert!(still_works, "it may hang: it is told to stop");
        let mut accepted = talk();
        accepted.on_reply(Ok(ExecReply::Accepted), 4_000);
        assert_eq!(accepted.on_time(10_000), Step::GoOn { progress: 0.0 });
        assert!(failure(accepted.on_time(14_000)).0.to_string().ends_with("it had accepted the job"));
        accepted.on_reply(progress(Some(0.9), "epoch 9 of 10"), 14_000);
        accepted.on_reply(progress(None, ""), 15_000);
        assert!(failure(accepted.on_time(25_000)).0.to_string().ends_with("its last words were: epoch 9 of 10"));
    }

    #[test]
    fn errors_say_themselves_whether_a_retry_may_help() {
        let error = |retry| talk().on_reply(Ok(ExecReply::Error { message: "no such file".into(), retry }), 1);
        assert_eq!(failure(error(true)), (ExecutorError::Failed("no such file".into()), false));
        assert_eq!(failure(error(false)), (ExecutorError::Final("no such file".into()), false));
    }

    #[test]
    fn nobody_there_is_a_failure_that_names_the_subject() {
        let (error, still_works) = failure(talk().on_nobody());
        assert!(matches!(&error, ExecutorError::Failed(text) if text.contains("no executor answers exec.greet")), "{error}");
        assert!(!still_works);
    }

    #[test]
    fn an_unreadable_answer_fails_the_attempt_and_stops_the_executor() {
        let (error, still_works) = failure(talk().on_reply(Err("no JSON".into()), 1));
        assert!(error.to_string().contains("exec.greet sent an answer that cannot be read: no JSON"), "{error}");
        assert!(still_works && matches!(error, ExecutorError::Failed(_)));
    }

    #[test]
    fn a_result_that_would_be_cut_off_is_refused_for_good() {
        let step = |chars: usize| talk().on_reply(result(json!("ä".repeat(chars))), 1);
        assert!(matches!(step(MAX_RESULT_CHARS), Step::Over { outcome: Ok(_), .. }));
        let (error, _) = failure(step(MAX_RESULT_CHARS + 1));
        assert!(matches!(&error, ExecutorError::Final(text) if text.contains("4097 characters")), "{error}");
    }
}
