//! A queue that is bounded in number and in octets, and the thread that empties it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What may wait at once: two tenths of a second at 50,000 queries a second.
const ITEMS_MAX: usize = 10_000;
/// And how many octets of it.
const OCTETS_MAX: usize = 16 << 20;
/// How often an idle thread looks whether it is to stop.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Where things are put in.
pub(super) struct Door<T> {
    sender: SyncSender<(T, usize)>,
    octets: Arc<AtomicUsize>,
}

/// Where they come out, in the same order.
pub(super) struct Inbox<T> {
    receiver: Receiver<(T, usize)>,
    octets: Arc<AtomicUsize>,
}

/// An empty queue.
pub(super) fn bounded<T>() -> (Door<T>, Inbox<T>) {
    with_room(ITEMS_MAX)
}

fn with_room<T>(items: usize) -> (Door<T>, Inbox<T>) {
    let (sender, receiver) = sync_channel(items);
    let octets = Arc::new(AtomicUsize::new(0));
    let door = Door {
        sender,
        octets: octets.clone(),
    };
    (door, Inbox { receiver, octets })
}

impl<T> Door<T> {
    /// Puts something of `len` octets in; false if there is no room for it, or nobody who takes it out. Never waits.
    pub(super) fn put(&self, item: T, len: usize) -> bool {
        let before = self.octets.fetch_add(len, Ordering::Relaxed);
        let put = before <= OCTETS_MAX && self.sender.try_send((item, len)).is_ok();
        if !put {
            self.octets.fetch_sub(len, Ordering::Relaxed);
        }
        put
    }
}

impl<T> Inbox<T> {
    /// The next thing, if one comes soon.
    pub(super) fn next(&self) -> Option<T> {
        match self.receiver.recv_timeout(LOOK_INTERVAL) {
            Ok(item) => Some(self.taken(item)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(LOOK_INTERVAL);
                None
            }
        }
    }

    /// The next thing, if one is there.
    pub(super) fn ready(&self) -> Option<T> {
        self.receiver.try_recv().ok().map(|item| self.taken(item))
    }

    fn taken(&self, (item, len): (T, usize)) -> T {
        self.octets.fetch_sub(len, Ordering::Relaxed);
        item
    }
}

/// The thread.
pub(super) struct Worker {
    stop: Arc<AtomicBool>,
    /// Says nothing; ends with the thread.
    ended: Mutex<Receiver<()>>,
}

impl Worker {
    /// Starts it: `work` is told by its argument when it is to come to its end.
    pub(super) fn start(
        name: &str,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> io::Result<Worker> {
        let stop = Arc::new(AtomicBool::new(false));
        let (alive, ended) = sync_channel(0);
        let told = stop.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _alive: SyncSender<()> = alive;
                work(&told);
            })?;
        Ok(Worker {
            stop,
            ended: Mutex::new(ended),
        })
    }

    /// It is to write out what waits, and end.
    pub(super) fn prepare_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for its end, but no longer than this.
    pub(super) fn wait(&self, time_max: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(time_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_refused_at_once() {
        let (door, inbox) = with_room(2);
        assert!(door.put("one", 1) && door.put("two", 1));
        assert!(!door.put("three", 1), "no place");
        assert_eq!(inbox.next(), Some("one"));
        assert!(door.put("large", OCTETS_MAX + 1));
        assert_eq!(inbox.next(), Some("two"));
        assert!(!door.put("small", 1), "no octets");
        assert_eq!(inbox.next(), Some("large"));
        assert!(door.put("small", 1), "what left has made room");
        drop(inbox);
        assert!(!door.put("more", 1), "nobody takes it");
    }

    #[test]
    fn the_end_waits_for_the_thread_but_not_for_ever() {
        let quick = Worker::start("quick", |stop| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let quick = quick.unwrap();
        quick.prepare_stop();
        quick.wait(Duration::from_secs(60));
        let (hold, held) = sync_channel::<()>(0);
        let stuck = Worker::start("stuck", move |_| {
            let _ = held.recv();
        })
        .unwrap();
        stuck.wait(Duration::from_millis(1));
        drop(hold);
        stuck.wait(Duration::from_secs(60));
    }
}
