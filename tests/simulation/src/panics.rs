//! The engine's own checks panic, and tokio keeps a task's panic to itself: here they are heard.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_PLAYING: Cell<bool> = const { Cell::new(false) };
}

/// From now on the panics of this thread are kept.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or("no message").to_owned();
            if IS_PLAYING.get() {
                HEARD.with_borrow_mut(|heard| *heard = heard.take().or(Some(text)));
            } else {
                before(info);
            }
        }));
    });
    IS_PLAYING.set(true);
    HEARD.take();
}

pub(crate) fn is_any() -> bool {
    HEARD.with_borrow(Option::is_some)
}

/// The first panic of this thread since it began to listen.
pub(crate) fn heard() -> Option<String> {
    IS_PLAYING.set(false);
    HEARD.take()
}
