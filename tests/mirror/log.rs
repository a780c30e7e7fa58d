//! What the program logged in this thread. One subscriber for the whole test binary, because those of single threads
//! disturb each other; a test on a current-thread runtime has a thread of its own.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to keep the log.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        subscriber.with_writer(|| ThisThread).init();
    });
}

/// How often a text was logged in this thread.
pub fn count(text: &str) -> usize {
    LOG.with_borrow(|log| String::from_utf8_lossy(log).matches(text).count())
}
