//! Many things in few messages. A NATS server bounds a message by its bytes, so that is what bounds a batch, never a number of items that
//! may be small or large. This is the only place where batches are cut; how many bytes there are is `runtime::connect`'s knowledge.

use std::io::{Result, Write};

use serde::Serialize;

use crate::codec::{Message, encode, encoded};

/// A batch that has reached this is sent, although the server would take more: a message of many megabytes would hold up its connection.
const GOOD_BYTES: usize = 256 << 10;
/// The most bytes by which the head of a list grows when items are added to an empty one.
const LIST_HEAD: usize = 4;
/// What the headers of any of our messages may take: kind, version, state, expected sequence, ids, lifetime and trace.
pub const HEADER_BYTES: usize = 512;
/// The smallest `max_payload` with which records and events surely fit.
pub const LEAST_PAYLOAD: usize = 64 << 10;
/// What an assignment has beside its job, at most: a full path, and what says where it runs. So that each of a job's assignments can be
/// sent, a job is only taken when it leaves so much room.
pub const ASSIGNMENT_BYTES: usize = 28 << 10;

/// Counts what is written and keeps nothing.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How many bytes something takes in a message's body.
pub fn bytes_of(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    encoded(&mut counter, value);
    counter.0
}

/// The messages that carry a list of items together.
#[derive(Debug)]
pub struct Parts<M, T> {
    /// All items that fit into a message, once each and in their order.
    pub messages: Vec<M>,
    /// Those that do not, each with the bytes of a message that would carry it alone.
    pub too_large: Vec<(T, usize)>,
}

/// Cuts `items` into messages of at most `most` bytes. `message` makes one of some of them; what it adds must not depend on which.
pub fn parts<M: Message, T: Serialize>(items: Vec<T>, most: usize, message: impl Fn(Vec<T>) -> M) -> Parts<M, T> {
    let envelope = encode(&message(Vec::new())).len() + LIST_HEAD;
    let (batches, too_large) = split(items, envelope, most);
    Parts { messages: batches.into_iter().map(message).collect(), too_large }
}

/// The same for a list inside of something else: `envelope` is what that takes around the items.
pub fn split<T: Serialize>(items: Vec<T>, envelope: usize, most: usize) -> (Vec<Vec<T>>, Vec<(T, usize)>) {
    let (mut batches, mut too_large, mut batch, mut used) = (Vec::new(), Vec::new(), Vec::new(), envelope);
    for item in items {
        let bytes = bytes_of(&item);
        if envelope + bytes > most {
            too_large.push((item, envelope + bytes));
            continue;
        }
        if !batch.is_empty() && used + bytes > most.min(GOOD_BYTES) {
            batches.push(std::mem::take(&mut batch));
            used = envelope;
        }
        used += bytes;
        batch.push(item);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    (batches, too_large)
}

/// The first items that one message of at most `most` bytes carries together; how large it would be when not even the first one fits.
pub fn first_that_fit<T: Serialize>(items: impl Iterator<Item = T>, envelope: usize, most: usize) -> std::result::Result<Vec<T>, usize> {
    let (mut fit, mut used) = (Vec::new(), envelope + LIST_HEAD);
    for item in items {
        used += bytes_of(&item);
        if used > most {
            return if fit.is_empty() { Err(used) } else { Ok(fit) };
        }
        fit.push(item);
    }
    Ok(fit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::codec::message;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Item {
        id: u32,
        text: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct List {
        sender: String,
        items: Vec<Item>,
    }

    message!(List, "list");

    fn list(items: Vec<Item>) -> List {
        List { sender: "worker-01".into(), items }
    }

    proptest! {
        #[test]
        fn every_message_fits_and_has_all_items_once_in_order(lengths in prop::collection::vec(0_usize..3_000, 0..300), most in 60_usize..400_000) {
            let items: Vec<Item> =
                lengths.iter().zip(0..).map(|(length, id)| Item { id, text: "x".repeat(*length) }).collect();
            let Parts { messages, too_large } = parts(items.clone(), most, list);
            for message in &messages {
                let bytes = encode(message).len();
                prop_assert!(!message.items.is_empty() && bytes <= most, "{bytes} of {most} bytes");
                prop_assert!(message.items.len() == 1 || bytes <= GOOD_BYTES, "{bytes} bytes");
            }
            let mut ids: Vec<u32> = messages.iter().flat_map(|message| message.items.iter().map(|item| item.id)).collect();
            prop_assert!(ids.is_sorted());
            for (item, bytes) in &too_large {
                prop_assert!(*bytes > most && *bytes <= encode(&list(vec![item.clone()])).len() + LIST_HEAD);
            }
            ids.extend(too_large.iter().map(|(item, _)| item.id));
            ids.sort_unstable();
            prop_assert_eq!(ids, items.iter().map(|item| item.id).collect::<Vec<_>>());
        }

        #[test]
        fn a_page_has_as_many_rows_as_fit(lengths in prop::collection::vec(0_usize..3_000, 0..50), most in 60_usize..20_000) {
            let items = lengths.iter().zip(0..).map(|(length, id)| Item { id, text: "x".repeat(*length) });
            let envelope = bytes_of(&list(vec![]));
            match first_that_fit(items, envelope, most) {
                Ok(fit) => {
                    prop_assert!(fit.is_empty() == lengths.is_empty());
                    prop_assert!(encode(&list(fit)).len() <= most);
                }
                Err(bytes) => prop_assert!(bytes > most),
            }
        }
    }

    #[test]
    fn what_is_small_travels_together() {
        let items = (0..400).map(|id| Item { id, text: "x".repeat(500) }).collect();
        assert_eq!(parts(items, 1 << 20, list).messages.len(), 1);
        let items = (0..30).map(|id| Item { id, text: "x".repeat(120 << 10) }).collect();
        assert_eq!(parts(items, 1 << 20, list).messages.len(), 15);
    }
}
