//! Connections that are shared, with servers on loopback that treat them well or badly.

use super::*;

/// What a server does after a question.
struct Then {
    write: Vec<u8>,
    hang_up: bool,
}

fn write(messages: &[Vec<u8>]) -> Then {
    Then {
        write: messages.iter().flat_map(|m| framed(m)).collect(),
        hang_up: false,
    }
}

/// A server that does for each question what `script` says, told the number of the connection and all questions on it
/// so far. What it reads is kept; so is how many connections it has seen closed.
struct Server {
    address: SocketAddr,
    closed: Arc<tokio::sync::Semaphore>,
}

async fn server(script: impl Fn(usize, &[Vec<u8>]) -> Then + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    let closed = Arc::new(tokio::sync::Semaphore::new(0));
    let ended = closed.clone();
    tokio::spawn(async move {
        for number in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (script, ended) = (script.clone(), ended.clone());
            tokio::spawn(async move {
                let mut questions = Vec::new();
                while let Ok(len) = stream.read_u16().await {
                    let mut question = vec![0; usize::from(len)];
                    stream.read_exact(&mut question).await.unwrap();
                    questions.push(question);
                    let then = script(number, &questions);
                    let _ = stream.write_all(&then.write).await;
                    if then.hang_up {
                        break;
                    }
                }
                ended.add_permits(1);
            });
        }
    });
    Server { address, closed }
}

fn named(server: &Server, n: usize, timeout: Duration) -> Ask {
    let mut ask = ask(server.address, Transport::Tcp, timeout);
    ask.question.name = format!("{n}.many.example.").parse().unwrap();
    ask
}

async fn ask_of(upstream: &NetUpstream, server: &Server, n: usize, timeout: Duration) -> String {
    let result = upstream.exchange(named(server, n, timeout)).await;
    if let Ok(reply) = &result {
        let expected = format!("{n}.many.example.");
        assert_eq!(reply.message.answer[0].name.to_string(), expected);
    }
    outcome(&result).to_string()
}

fn last(questions: &[Vec<u8>]) -> Vec<u8> {
    wire(&answer(questions.last().unwrap()))
}

fn counts(metrics: &Metrics) -> [u64; 3] {
    [
        metrics.upstream_tcp_opened_total.value(),
        metrics.upstream_tcp_reused_total.value(),
        metrics.upstream_tcp_retried_total.value(),
    ]
}

// RFC 7766 section 6.2.1.
#[tokio::test]
async fn questions_one_after_another_share_a_connection() {
    let (upstream, metrics) = upstream();
    let server = server(|_, questions| write(&[last(questions)])).await;
    for n in 0..5 {
        assert_eq!(ask_of(&upstream, &server, n, LONG).await, "answer");
    }
    assert_eq!(counts(&metrics), [1, 4, 0]);
    assert_eq!(metrics.upstream_tcp_connections.value(), 1);
}

// RFC 7766 sections 6.2.1.1 and 7.
#[tokio::test]
async fn questions_are_pipelined_and_answers_come_in_any_order() {
    const MANY: usize = 20;
    let (upstream, metrics) = upstream();
    let server = server(|_, questions| match questions.len() {
        MANY => {
            let answers = questions.iter().rev().map(|q| wire(&answer(q)));
            write(&answers.collect::<Vec<_>>())
        }
        _ => write(&[]),
    })
    .await;
    let (upstream, server) = (Arc::new(upstream), Arc::new(server));
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let (upstream, server) = (upstream.clone(), server.clone());
        tasks.spawn(async move { ask_of(&upstream, &server, n, LONG).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap(), "answer");
    }
    assert_eq!(counts(&metrics), [1, MANY as u64 - 1, 0]);
}

// RFC 7766 section 6.2.4: what was lost with a connection that was in use is asked once more.
#[tokio::test]
async fn a_connection_closed_by_the_server_costs_no_answer() {
    let (upstream, metrics) = upstream();
    let closes_at_the_second = server(|_, questions| match questions.len() {
        1 => write(&[last(questions)]),
        _ => Then {
            write: Vec::new(),
            hang_up: true,
        },
    })
    .await;
    for n in 0..4 {
        let outcome = ask_of(&upstream, &closes_at_the_second, n, LONG).await;
        assert_eq!(outcome, "answer");
    }
    // Each second connection is the fresh one of a retry.
    assert_eq!(counts(&metrics), [4, 3, 3]);
}

#[tokio::test]
async fn a_fresh_connection_that_is_closed_is_the_end() {
    let (upstream, metrics) = upstream();
    let once = server(|number, questions| match (number, questions.len()) {
        (1, 1) => write(&[last(questions)]),
        _ => Then {
            write: Vec::new(),
            hang_up: true,
        },
    })
    .await;
    assert_eq!(ask_of(&upstream, &once, 1, LONG).await, "answer");
    assert_eq!(ask_of(&upstream, &once, 2, LONG).await, "unreachable");
    assert_eq!(counts(&metrics), [2, 1, 1]);
}

#[tokio::test]
async fn who_answers_only_the_first_question_gets_a_connection_for_each() {
    let (upstream, metrics) = upstream();
    let server = server(|_, questions| match questions.len() {
        1 => write(&[last(questions)]),
        _ => write(&[]),
    })
    .await;
    assert_eq!(ask_of(&upstream, &server, 1, LONG).await, "answer");
    assert_eq!(ask_of(&upstream, &server, 2, SHORT).await, "timed out");
    for n in 3..8 {
        assert_eq!(ask_of(&upstream, &server, n, LONG).await, "answer");
    }
    assert_eq!(counts(&metrics), [6, 1, 0]);
}

#[tokio::test]
async fn what_answers_nothing_is_counted_and_bounded() {
    for (strays, expected) in [
        (0, "answer"),
        (3, "answer"),
        (16, "answer"),
        (17, "malformed"),
    ] {
        let (upstream, metrics) = upstream();
        let server = server(move |_, questions| {
            let mut stray = answer(&questions[0]);
            let mut messages = Vec::new();
            for _ in 0..strays {
                stray.id = stray.id.wrapping_add(1);
                messages.push(wire(&stray));
            }
            messages.push(last(questions));
            write(&messages)
        })
        .await;
        let outcome = ask_of(&upstream, &server, 1, LONG).await;
        assert_eq!(outcome, expected, "{strays}");
        assert_eq!(metrics.upstream_mismatched_id_total.value(), strays);
    }
}

#[tokio::test]
async fn a_late_answer_is_counted_and_hurts_nobody() {
    let (upstream, metrics) = upstream();
    let upstream = Arc::new(upstream);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        address: listener.local_addr().unwrap(),
        closed: Arc::new(tokio::sync::Semaphore::new(0)),
    };
    let first = {
        let (upstream, ask) = (upstream.clone(), named(&server, 1, LONG));
        tokio::spawn(async move { upstream.exchange(ask).await })
    };
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = async || {
        let len = stream.read_u16().await.unwrap();
        let mut question = vec![0; usize::from(len)];
        stream.read_exact(&mut question).await.unwrap();
        question
    };
    let mut questions = vec![read().await];
    let second = {
        let (upstream, ask) = (upstream.clone(), named(&server, 2, LONG));
        tokio::spawn(async move { upstream.exchange(ask).await })
    };
    questions.push(read().await);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    for question in &questions {
        let answer = framed(&wire(&answer(question)));
        stream.write_all(&answer).await.unwrap();
    }
    assert_eq!(outcome(&second.await.unwrap()), "answer");
    assert_eq!(metrics.upstream_tcp_late_total.value(), 1);
    assert_eq!(metrics.upstream_mismatched_total.value(), 0);
}

// RFC 7766 section 6.2.3.
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (upstream, metrics) = upstream();
    let server = server(|_, questions| write(&[last(questions)])).await;
    assert_eq!(ask_of(&upstream, &server, 1, LONG).await, "answer");
    assert_eq!(metrics.upstream_tcp_connections.value(), 1);
    // Virtual time runs on to the next timer while nothing happens.
    tokio::time::pause();
    let before = upstream.shared.clock.now().mono;
    server.closed.acquire().await.unwrap().forget();
    let idle = upstream.shared.clock.now().mono - before;
    assert!(
        idle >= crate::upstream::tcp::IDLE_MAX - Duration::from_secs(1),
        "{idle:?}"
    );
    assert_eq!(metrics.upstream_tcp_connections.value(), 0);
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_a_question() {
    let (upstream, _) = upstream();
    let tcp = server(|_, questions| write(&[last(questions)])).await;
    assert_eq!(ask_of(&upstream, &tcp, 1, LONG).await, "answer");
    let _taken = upstream.take_sockets(upstream.sockets_free());
    let udp = udp_server(|query| vec![wire(&answer(query))]).await;
    let result = upstream.exchange(ask(udp, Transport::Udp, LONG)).await;
    assert_eq!(outcome(&result), "answer");
    tcp.closed.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn connections_and_questions_on_them_are_bounded() {
    const ROOM: usize = 3 * 32;
    let (upstream, metrics) = upstream();
    let silent = Arc::new(server(|_, _| write(&[])).await);
    let upstream = Arc::new(upstream);
    let mut tasks = JoinSet::new();
    for n in 0..ROOM + 5 {
        let (upstream, silent) = (upstream.clone(), silent.clone());
        tasks.spawn(async move { ask_of(&upstream, &silent, n, 5 * SHORT).await });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    let count = |what: &str| outcomes.iter().filter(|o| *o == what).count();
    assert_eq!((count("timed out"), count("limit")), (ROOM, 5));
    assert_eq!(counts(&metrics), [3, ROOM as u64 - 3, 0]);
}

#[tokio::test]
async fn a_question_waits_for_a_place() {
    let (upstream, _) = upstream();
    let upstream = Arc::new(upstream);
    // The first three connections never answer.
    let server = Arc::new(
        server(|number, questions| match number {
            1..=3 => write(&[]),
            _ => write(&[last(questions)]),
        })
        .await,
    );
    let mut tasks = JoinSet::new();
    for n in 0..3 * 32 + 1 {
        let (upstream, server) = (upstream.clone(), server.clone());
        let time = if n < 3 * 32 { SHORT / 5 } else { LONG };
        tasks.spawn(async move { ask_of(&upstream, &server, n, time).await });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    assert!(!outcomes.contains(&"limit".to_string()));
    assert_eq!(
        outcomes.iter().filter(|o| *o == "timed out").count(),
        3 * 32
    );
}

#[tokio::test]
async fn servers_that_accept_and_say_nothing_give_way_to_others() {
    const ROOM: usize = 4;
    let (mut upstream, metrics) = upstream();
    upstream.pool.room = ROOM;
    let upstream = Arc::new(upstream);
    let mut tarpits = JoinSet::new();
    for n in 0..ROOM {
        let upstream = upstream.clone();
        // It answers the first question, so that it looks alive.
        let tarpit = server(|_, questions| match questions.len() {
            1 => write(&[last(questions)]),
            _ => write(&[]),
        });
        let tarpit = tarpit.await;
        assert_eq!(ask_of(&upstream, &tarpit, n, LONG).await, "answer");
        tarpits.spawn(async move { ask_of(&upstream, &tarpit, n, LONG).await });
    }
    while metrics.upstream_tcp_reused_total.value() < ROOM as u64 {
        tokio::task::yield_now().await;
    }
    let honest = server(|_, questions| write(&[last(questions)])).await;
    // For a while they may yet answer.
    assert_eq!(ask_of(&upstream, &honest, 9, LONG).await, "limit");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert_eq!(ask_of(&upstream, &honest, 9, LONG).await, "answer");
    assert_eq!(tarpits.join_next().await.unwrap().unwrap(), "limit");
    assert!(tarpits.try_join_next().is_none());
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_any_more_is_not_made() {
    let (mut upstream, metrics) = upstream();
    upstream.pool.room = 1;
    // Its queue is full, so that it accepts nobody else.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await
    {
        queue.push(stream.unwrap());
    }
    let result = upstream.exchange(ask(address, Transport::Tcp, SHORT)).await;
    assert_eq!(outcome(&result), "timed out");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.upstream_tcp_connections.value(), 0);
    let honest = server(|_, questions| write(&[last(questions)])).await;
    assert_eq!(ask_of(&upstream, &honest, 1, LONG).await, "answer");
}

#[tokio::test]
async fn damaged_connections_end_in_answers_or_errors() {
    let rng = Mutex::new(StdRng::seed_from_u64(12));
    let server = server(move |_, questions| {
        let mut rng = rng.lock().unwrap();
        let mut bytes = framed(&last(questions));
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        Then {
            write: bytes,
            hang_up: rng.random_ratio(1, 3),
        }
    })
    .await;
    let (upstream, _) = upstream();
    let mut answers = 0;
    for n in 0..200 {
        // What is damaged behind the question is not the connection's to see.
        let result = upstream.exchange(named(&server, n, SHORT / 5)).await;
        let outcome = outcome(&result);
        answers += u32::from(outcome == "answer");
        let known = [
            "answer",
            "truncated",
            "malformed",
            "unreachable",
            "timed out",
        ];
        assert!(known.contains(&outcome), "{outcome}");
    }
    assert!(answers > 20, "{answers}");
}
