//! Conversations over a pipe in memory, with a resolver that waits until it is let go.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::dns::edns::option;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Edns, Message, Question, Rcode, Rtype};
use crate::places::{Places, network};
use crate::query::{BoxFuture, Options, Resolve, Settings, Transport};
use crate::resolve::{Resolution, Security, Sources};

/// Knows every name but `slow.`, for which it waits until it is let go.
struct Slow {
    go: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
}

/// Counts who waits, however that ends.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nxdomain() -> Resolution {
    Resolution {
        rcode: Rcode::NXDOMAIN,
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        security: Security::Insecure,
        errors: Vec::new(),
        sources: Sources::default(),
    }
}

impl Resolve for Slow {
    fn cached(&self, question: &Question, _: Options) -> Option<Resolution> {
        (question.name != "slow.".parse().unwrap()).then(nxdomain)
    }

    fn resolve(&self, _: Question, _: Options) -> BoxFuture<'_, Resolution> {
        let mut go = self.go.clone();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(self.waiting.clone());
        Box::pin(async move {
            let _waits = waits;
            go.wait_for(|go| *go).await.unwrap();
            nxdomain()
        })
    }
}

struct Running {
    client: DuplexStream,
    task: JoinHandle<io::Result<()>>,
    go: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    parallel: Arc<Semaphore>,
}

/// A conversation whose connection has one of so many places.
fn running(places: usize, parallel: usize) -> Running {
    let (go, wait) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let waiting = Arc::new(AtomicUsize::new(0));
    let metrics = Arc::new(Metrics::default());
    let resolver = Slow {
        go: wait,
        waiting: waiting.clone(),
    };
    let pipeline = Pipeline::new(
        Settings::untold(),
        Some(Arc::new(resolver)),
        metrics.clone(),
    );
    let parallel = Arc::new(Semaphore::new(parallel));
    let common = Common {
        pipeline: Arc::new(pipeline),
        metrics: metrics.clone(),
        parallel: parallel.clone(),
        stopped,
    };
    let (client, server) = duplex(1 << 16);
    let at = "127.0.0.1:4000".parse().unwrap();
    let place = Places::new(places, 1, network).take("127.0.0.1".parse().unwrap());
    let asking = Client::new(at, Transport::Tcp);
    let conversation = Conversation::new(server, asking, common, place.unwrap());
    Running {
        client,
        task: tokio::spawn(conversation.run()),
        go,
        stop,
        waiting,
        metrics,
        parallel,
    }
}

fn framed(id: u16, name: &str) -> Vec<u8> {
    let query = Message {
        recursion_desired: true,
        ..Message::query(id, Question::new(name.parse().unwrap(), Rtype::A))
    };
    let query = query.encode(MESSAGE_LEN_MAX);
    [&(query.len() as u16).to_be_bytes()[..], &query].concat()
}

impl Running {
    async fn send(&mut self, id: u16, name: &str) {
        self.client.write_all(&framed(id, name)).await.unwrap();
    }

    async fn receive(&mut self) -> Message {
        let mut answer = vec![0; usize::from(self.client.read_u16().await.unwrap())];
        self.client.read_exact(&mut answer).await.unwrap();
        Message::parse(&answer).unwrap()
    }

    async fn receive_ids(&mut self, count: usize) -> Vec<u16> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.receive().await.id);
        }
        ids
    }

    /// Lets everybody else go on until so many wait.
    async fn until_waiting(&self, count: usize) {
        while self.waiting.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }
}

// RFC 7766 section 6.2.1.1.
#[tokio::test]
async fn a_slow_query_holds_up_no_other() {
    let mut running = running(10, PARALLEL_MAX);
    running.send(1, "slow.").await;
    running.send(2, "known.").await;
    running.send(3, "slow.").await;
    running.send(4, "known.").await;
    assert_eq!(running.receive_ids(2).await, [2, 4]);
    running.go.send(true).unwrap();
    let mut late = running.receive_ids(2).await;
    late.sort_unstable();
    assert_eq!(late, [1, 3]);
}

#[tokio::test]
async fn so_many_of_a_connection_are_in_work_and_no_more() {
    let mut running = running(10, PARALLEL_MAX);
    let count = IN_WORK_MAX as u16 + 20;
    for id in 0..count {
        running.send(id, "slow.").await;
    }
    running.send(999, "known.").await;
    running.until_waiting(IN_WORK_MAX).await;
    // It had time to take more.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.waiting.load(Ordering::Relaxed), IN_WORK_MAX);
    assert_eq!(running.metrics.streams_held_total.value(), 1);
    running.go.send(true).unwrap();
    let mut ids = running.receive_ids(usize::from(count) + 1).await;
    ids.sort_unstable();
    let expected: Vec<u16> = (0..count).chain([999]).collect();
    assert_eq!(ids, expected);
    // All places are free again.
    assert_eq!(running.parallel.available_permits(), PARALLEL_MAX);
}

#[tokio::test]
async fn where_all_connections_have_much_in_work_one_is_served_in_order() {
    let mut running = running(10, 0);
    for id in 0..5 {
        running.send(id, "slow.").await;
        running.send(100 + id, "known.").await;
    }
    running.until_waiting(1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.waiting.load(Ordering::Relaxed), 1);
    // What came before the one that has no place was answered.
    assert_eq!(running.receive_ids(1).await, [100]);
    assert_eq!(running.metrics.streams_held_total.value(), 1);
    running.go.send(true).unwrap();
    let ids = running.receive_ids(9).await;
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4, 101, 102, 103, 104], "{ids:?}");
}

#[tokio::test]
async fn who_has_closed_his_side_gets_his_answers() {
    let mut running = running(10, PARALLEL_MAX);
    running.send(1, "slow.").await;
    running.send(2, "slow.").await;
    running.client.shutdown().await.unwrap();
    running.until_waiting(2).await;
    running.go.send(true).unwrap();
    let mut ids = running.receive_ids(2).await;
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_given_up() {
    let Running {
        mut client,
        task,
        go,
        stop: _stop,
        waiting,
        ..
    } = running(10, PARALLEL_MAX);
    client.write_all(&framed(1, "slow.")).await.unwrap();
    client.write_all(&framed(2, "slow.")).await.unwrap();
    while waiting.load(Ordering::Relaxed) != 2 {
        tokio::task::yield_now().await;
    }
    // Gone altogether. It is noticed when something is to be written.
    client.write_all(&framed(3, "known.")).await.unwrap();
    drop(client);
    assert!(task.await.unwrap().is_err());
    while waiting.load(Ordering::Relaxed) != 0 {
        tokio::task::yield_now().await;
    }
    drop(go);
}

#[tokio::test]
async fn at_the_end_what_is_in_work_is_answered_and_nothing_more() {
    let mut running = running(10, PARALLEL_MAX);
    running.send(1, "slow.").await;
    running.until_waiting(1).await;
    running.stop.send(true).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    running.send(2, "known.").await;
    running.go.send(true).unwrap();
    assert_eq!(running.receive_ids(1).await, [1]);
    running.task.await.unwrap().unwrap();
    assert_eq!(running.client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn half_a_query_keeps_nothing_open() {
    let mut running = running(10, PARALLEL_MAX);
    running.client.write_all(&[0, 200]).await.unwrap();
    let trickle = tokio::spawn(async move {
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(900)).await;
            if running.client.write_u8(0).await.is_err() {
                return true;
            }
        }
        false
    });
    let ended = running.task.await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    assert!(trickle.await.unwrap());
}

// RFC 7828 sections 3.1, 3.3.1 and 3.4.
#[tokio::test]
async fn who_asks_is_told_how_long_his_connection_may_stay() {
    let told = async |places: usize, value: Vec<u8>| {
        let mut running = running(places, PARALLEL_MAX);
        let mut edns = Edns::new(1232, false);
        edns.options = vec![(option::TCP_KEEPALIVE, value)];
        let mut query = Message::query(7, Question::new("x.".parse().unwrap(), Rtype::A));
        query.edns = Some(edns);
        let query = query.encode(MESSAGE_LEN_MAX);
        running.client.write_u16(query.len() as u16).await.unwrap();
        running.client.write_all(&query).await.unwrap();
        let answer = running.receive().await;
        let edns = answer.edns.unwrap();
        let told = edns.option(option::TCP_KEEPALIVE).map(<[u8]>::to_vec);
        (answer.rcode, told)
    };
    let nothing = Vec::new;
    assert_eq!(
        told(10, nothing()).await,
        (Rcode::NXDOMAIN, Some(vec![0, 100]))
    );
    // One of one place is taken: half of them, and nearly all.
    assert_eq!(
        told(1, nothing()).await,
        (Rcode::NXDOMAIN, Some(vec![0, 0]))
    );
    assert_eq!(told(10, vec![0, 1]).await, (Rcode::FORMERR, None));
}
