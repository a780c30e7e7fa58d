//! Which questions leave from one port.

use super::*;

/// A server that answers by `script`, and the ports that asked it.
async fn noted(
    script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Arc<Mutex<HashSet<u16>>>) {
    let ports: Arc<Mutex<HashSet<u16>>> = Arc::default();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let seen = ports.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            seen.lock().unwrap().insert(client.port());
            for packet in script(&buffer[..len]) {
                let _ = socket.send_to(&packet, client).await;
            }
        }
    });
    (address, ports)
}

const MANY: usize = 40;

async fn ports_of_many(script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> usize {
    let (upstream, _) = upstream();
    let (server, ports) = noted(script).await;
    for _ in 0..MANY {
        let result = upstream.exchange(ask(server, Transport::Udp, LONG)).await;
        assert_eq!(outcome(&result), "answer");
    }
    ports.lock().unwrap().len()
}

#[tokio::test]
async fn a_port_is_used_again_for_a_few_questions() {
    let ports = ports_of_many(|query| vec![wire(&answer(query))]).await;
    assert!((MANY / 8..MANY).contains(&ports), "{ports}");
}

/// Who was sent something that did not agree may be under attack, and leaves its port.
#[tokio::test]
async fn a_port_that_was_guessed_at_is_left() {
    let forged = |query: &[u8]| {
        let mut forged = answer(query);
        forged.id ^= 1;
        vec![wire(&forged), wire(&answer(query))]
    };
    let ports = ports_of_many(forged).await;
    // Of so many random ports hardly two are the same.
    assert!(ports > MANY - 3, "{ports}");
}

#[tokio::test]
async fn lines_that_wait_give_way_where_sockets_are_short() {
    let (upstream, _) = upstream();
    let honest = |query: &[u8]| vec![wire(&answer(query))];
    let (first, other) = (udp_server(honest).await, udp_server(honest).await);
    let _taken = upstream.take_sockets(upstream.sockets_free() - 1);
    for server in [first, other, first] {
        let result = upstream.exchange(ask(server, Transport::Udp, SHORT)).await;
        assert_eq!(outcome(&result), "answer");
    }
}
