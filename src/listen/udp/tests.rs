//! Tests of the UDP threads, with queries over loopback.

use super::*;
use crate::clock::Clock;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Message, Name, Question, Rcode, RrSet, Rtype};
use crate::query::{BoxFuture, Options, Resolve, Settings};
use crate::resolve::{Resolution, Security, Sources};
use tokio::sync::watch;

/// Knows every name but `slow.`, for which it waits until it is let go; `panics.` is a defect at once, `panics-late.` one after that.
struct Slow(watch::Receiver<bool>);

fn nxdomain() -> Resolution {
    let soa = [&[0, 0][..], &[1; 20]].concat();
    Resolution {
        rcode: Rcode::NXDOMAIN,
        answer: Vec::new(),
        authority: vec![RrSet::single(Name::root(), Rtype::SOA, 900, soa.into())],
        additional: Vec::new(),
        security: Security::Insecure,
        errors: Vec::new(),
        sources: Sources::default(),
    }
}

impl Resolve for Slow {
    fn cached(&self, question: &Question, _: Options) -> Option<Resolution> {
        match question.name.wire() {
            b"\x06panics\0" => panic!("a defect that a test asks for"),
            b"\x04slow\0" | b"\x0bpanics-late\0" => None,
            _ => Some(nxdomain()),
        }
    }

    fn resolve(&self, question: Question, _: Options) -> BoxFuture<'_, Resolution> {
        let mut go = self.0.clone();
        Box::pin(async move {
            go.wait_for(|go| *go).await.unwrap();
            assert_ne!(question.name.wire(), b"\x0bpanics-late\0");
            nxdomain()
        })
    }

    fn standing(&self) -> Option<u64> {
        Some(0)
    }
}

struct Running {
    threads: UdpThreads,
    client: UdpSocket,
    go: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

fn running(places: u32) -> Running {
    running_with((places, places))
}

fn pipeline(wait: watch::Receiver<bool>, metrics: &Arc<Metrics>) -> Pipeline {
    Pipeline::new(
        Settings::untold(),
        Some(Arc::new(Slow(wait))),
        metrics.clone(),
    )
}

fn running_with(places: (u32, u32)) -> Running {
    let (go, wait) = watch::channel(false);
    let metrics = Arc::new(Metrics::default());
    let pipeline = pipeline(wait, &metrics);
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let pipeline = Arc::new(pipeline);
    let proxies = Proxies::new(Default::default(), metrics.clone());
    let threads = UdpThreads::with_places(
        places,
        vec![server],
        &[],
        proxies,
        pipeline,
        metrics.clone(),
    );
    Running {
        threads: threads.unwrap(),
        client,
        go,
        metrics,
    }
}

impl Running {
    fn send(&self, id: u16, name: &str) {
        let query = Message::query(id, Question::new(name.parse().unwrap(), Rtype::A));
        self.client.send(&query.encode(MESSAGE_LEN_MAX)).unwrap();
    }

    /// The numbers of as many answers, sorted.
    fn receive_ids<const COUNT: usize>(&self) -> [u16; COUNT] {
        let mut ids = [0; COUNT].map(|_| self.receive_id());
        ids.sort_unstable();
        ids
    }

    fn receive_id(&self) -> u16 {
        let mut buffer = [0; 512];
        let length = self.client.recv(&mut buffer).unwrap();
        Message::parse(&buffer[..length]).unwrap().id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_waits_does_not_hold_up_the_rest() {
    let running = running(10);
    running.send(1, "slow.");
    running.send(2, "known.");
    assert_eq!(running.receive_id(), 2);
    running.go.send(true).unwrap();
    assert_eq!(running.receive_id(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn too_many_that_wait_are_dropped_and_counted() {
    let running = running(3);
    for id in 1..=10 {
        running.send(id, "slow.");
    }
    running.send(99, "known.");
    assert_eq!(running.receive_id(), 99);
    assert_eq!(running.metrics.queries_shed_total.value(), 7);
    running.go.send(true).unwrap();
    assert_eq!(running.receive_ids(), [1, 2, 3]);
}

/// DNSBomb (CVE-2024-33655).
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_answers_that_wait_for_one_host_are_few() {
    let running = running_with((10, 2));
    for id in 1..=5 {
        running.send(id, "slow.");
    }
    running.send(99, "known.");
    assert_eq!(running.receive_id(), 99);
    assert_eq!(running.metrics.queries_shed_total.value(), 3);
    running.go.send(true).unwrap();
    assert_eq!(running.receive_ids(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_at_once_is_all_answered() {
    // As many as a socket of the usual size holds while nobody reads.
    const QUERIES: u16 = 60;
    // A place is free again only after its answer has left, so a client can be quicker: twice as many.
    let running = running(2 * u32::from(QUERIES));
    for round in 0..3 {
        for id in 0..QUERIES {
            running.send(round * 1000 + id, "slow.");
        }
        // Whoever waits no more has been answered; the second and third round find the door open.
        running.send(9999, "known.");
        let mut ids: Vec<u16> = Vec::new();
        if round == 0 {
            assert_eq!(running.receive_id(), 9999);
            running.go.send(true).unwrap();
            ids.push(9999);
        }
        while ids.len() <= usize::from(QUERIES) {
            ids.push(running.receive_id());
        }
        ids.sort_unstable();
        let mut expected: Vec<u16> = (0..QUERIES).map(|id| round * 1000 + id).collect();
        expected.push(9999);
        assert_eq!(ids, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn stopping_waits_for_what_is_in_work() {
    let running = running(3);
    running.send(1, "slow.");
    running.send(2, "known.");
    assert_eq!(running.receive_id(), 2);
    let drain = async move {
        running.threads.drain(Duration::from_secs(10)).await;
        running.threads.stop().await;
    };
    let stop = tokio::spawn(drain);
    running.go.send(true).unwrap();
    stop.await.unwrap();
    let mut buffer = [0; 512];
    assert!(running.client.recv(&mut buffer).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn while_some_are_waited_for_at_the_end_others_may_wait_as_well() {
    let running = running(3);
    running.send(1, "slow.");
    running.send(2, "known.");
    assert_eq!(running.receive_id(), 2);
    let mut drain = Box::pin(running.threads.drain(Duration::from_secs(60)));
    assert!(is_pending(&mut drain).await);
    running.send(3, "slow.");
    running.send(4, "known.");
    assert_eq!(running.receive_id(), 4);
    assert!(is_pending(&mut drain).await);
    running.go.send(true).unwrap();
    assert_eq!(running.receive_ids(), [1, 3]);
    drain.await;
    running.threads.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn while_some_wait_in_vain_at_the_end_all_others_are_answered() {
    let running = running(3);
    running.send(1, "slow.");
    running.send(2, "known.");
    assert_eq!(running.receive_id(), 2);
    let mut drain = Box::pin(running.threads.drain(Duration::from_secs(60)));
    // It has begun.
    assert!(is_pending(&mut drain).await);
    for id in 3..10 {
        running.send(id, "known.");
        assert_eq!(running.receive_id(), id);
    }
    drop(drain);
    running.threads.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_takes_its_own_query_alone() {
    // Its host's place comes back a moment after it.
    let running = running_with((1, 10));
    running.send(1, "panics.");
    running.send(2, "known.");
    assert_eq!(running.receive_id(), 2);
    // The one place that there is comes back from whoever panics in it.
    running.go.send(true).unwrap();
    for id in 3..6 {
        running.send(id, "panics-late.");
        running.send(id + 10, "known.");
        assert_eq!(running.receive_id(), id + 10);
        let place = running.threads.shared.waiting.acquire();
        let place = tokio::time::timeout(Duration::from_secs(10), place).await;
        assert!(place.is_ok(), "{id}");
    }
    assert_eq!(running.metrics.queries_shed_total.value(), 0);
}

/// A turn with these queries, whose answers go nowhere.
struct Turn(Vec<Vec<u8>>, Route);

impl Door for Turn {
    fn set_patience(&mut self, _: Duration) {}

    fn receive(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn datagrams(&self) -> impl Iterator<Item = (usize, &[u8], &Route)> {
        let queries = self.0.iter().enumerate();
        queries.map(move |(number, query)| (number, &query[..], &self.1))
    }

    fn outbox(&self, _: usize) -> Option<Arc<Outbox>> {
        None
    }

    fn send(&mut self, _: &Answers) -> Unsent {
        Unsent::default()
    }

    fn is_shut(&self, _: &io::Error) -> bool {
        false
    }
}

#[tokio::test]
async fn a_ready_answer_that_panics_takes_its_own_query_alone() {
    let metrics = Arc::new(Metrics::default());
    let pipeline = pipeline(watch::channel(false).1, &metrics);
    let pipeline =
        pipeline.with_ready_answers(1 << 20, Clock::starting_at(Duration::from_secs(1_000_000)));
    let shared = Shared {
        proxies: Proxies::new(Default::default(), metrics.clone()),
        pipeline: Arc::new(pipeline),
        metrics: metrics.clone(),
        runtime: Handle::current(),
        waiting: Arc::new(Semaphore::new(1)),
        places: 1,
        hosts: Hosts::new(1),
        fair: Fair::new(DATAGRAMS),
        stop_is_near: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    let names = ["one.", "broken.", "two.", "three."];
    let query = |name: &str| {
        let query = Message::query(7, Question::new(name.parse().unwrap(), Rtype::A));
        query.encode(MESSAGE_LEN_MAX)
    };
    let route = Route {
        client: ([127, 0, 0, 1], 4000).into(),
        local: None,
    };
    let door = Turn(names.map(query).to_vec(), route);
    let mut kept = shared.pipeline.ready_answers(1);
    let answered = |kept: &mut Option<ReadyAnswers>| {
        let mut answers = Answers::default();
        if let Some(kept) = kept {
            shared.pipeline.begin_turn(kept);
        }
        shared.turn(&door, &[false; BATCH_MAX], kept, &mut answers);
        if let Some(kept) = kept {
            shared.pipeline.end_turn(kept);
        }
        let names = answers.iter().map(|(octets, number)| {
            let name = Message::parse(octets).unwrap().question.unwrap().name;
            (number, name.to_string())
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    };
    let all: Vec<_> = names.into_iter().map(str::to_owned).enumerate().collect();
    let but_one: Vec<_> = (all.iter().filter(|(number, _)| *number != 1))
        .cloned()
        .collect();
    for _ in 0..3 {
        assert_eq!(answered(&mut kept), all);
    }
    let ready = metrics.answers_ready_total.value();
    assert_eq!(ready, names.len() as u64);
    assert_eq!(kept.as_mut().unwrap().spoil(b"\x06broken\0"), 1);
    assert_eq!(answered(&mut kept), but_one);
    // Nothing is ready any more, and nobody feels it.
    assert!(kept.is_none());
    assert_eq!(answered(&mut kept), all);
    assert_eq!(metrics.answers_ready_total.value(), ready);
}

/// Polls once; whether it has not ended.
async fn is_pending(work: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    std::future::poll_fn(|cx| {
        let pending = std::pin::Pin::new(&mut *work).poll(cx).is_pending();
        std::task::Poll::Ready(pending)
    })
    .await
}
