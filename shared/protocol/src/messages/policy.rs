//! What the leading scheduler and a user's policy program say to each other around the lines of [`faultline_engine::program`]. The program is
//! written in any language, by people who need nothing but a NATS client. docs/policies.md describes all of it.

use async_nats::HeaderMap;
use faultline_engine::program::VERSION;
use faultline_engine::scheduler::Question;

use crate::codec::{HEADER_KIND, HEADER_VERSION};

/// Which world a request is about. Another one begins with a line `world`.
pub const HEADER_WORLD: &str = "Faultline-World";
/// The request's number: the next one about the same world has the next one.
pub const HEADER_NUMBER: &str = "Faultline-Number";
/// The largest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The headers of a request.
pub fn request_headers(question: &Question) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_KIND, "policy-request");
    headers.insert(HEADER_VERSION, VERSION.to_string());
    headers.insert(HEADER_WORLD, question.world.as_str());
    headers.insert(HEADER_NUMBER, question.number.to_string());
    headers
}

/// The lines of an answer.
///
/// # Errors
/// When it is too large or not UTF-8, in words.
pub fn read_answer(body: &[u8]) -> Result<String, String> {
    if body.len() > MAX_ANSWER_BYTES {
        return Err(format!("its answer has {} bytes; the limit is {MAX_ANSWER_BYTES}", body.len()));
    }
    String::from_utf8(body.to_vec()).map_err(|_| "its answer cannot be read: it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_text_of_a_bounded_size() {
        assert_eq!(read_answer(b"{\"id\": 1}\n").unwrap(), "{\"id\": 1}\n");
        assert!(read_answer(&vec![b' '; MAX_ANSWER_BYTES + 1]).unwrap_err().contains("65537 bytes; the limit is 65536"));
        assert!(read_answer(b"\xff").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn a_request_says_which_world_it_is_about() {
        let question =
            Question { program: "mine".into(), world: "3-1".into(), number: 7, lines: String::new(), asks: 0, answer_within_ms: 1_000 };
        let headers = request_headers(&question);
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let expected = [(HEADER_KIND, "policy-request"), (HEADER_VERSION, "1"), (HEADER_WORLD, "3-1"), (HEADER_NUMBER, "7")];
        for (name, value) in expected {
            assert_eq!(header(name).as_deref(), Some(value), "{name}");
        }
    }
}
