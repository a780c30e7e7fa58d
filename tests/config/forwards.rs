//! `[[forward]]` and `[[stub]]`.

use super::{parse, refused};

#[test]
fn forwarded_zones_have_servers_that_are_others() {
    let config = parse(
        r#"
        [[forward]]
        zone = "."
        servers = ["192.0.2.1", "192.0.2.2:5353", "[2001:db8::1]:54"]
        [[forward]]
        zone = "Corp.Example"
        servers = ["127.0.0.1"]
        first = true
        "#,
    )
    .unwrap();
    let servers: Vec<_> = (config.forwards[0].servers.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        servers,
        ["192.0.2.1:53", "192.0.2.2:5353", "[2001:db8::1]:54"]
    );
    assert_eq!(config.forwards[1].zone, "corp.example.".parse().unwrap());
    assert_eq!(
        config.forwards.iter().map(|f| f.first).collect::<Vec<_>>(),
        [false, true]
    );
    let forward = |keys: &str| format!("[[forward]]\nzone = 'a.'\n{keys}\n");
    refused(&forward(""), &[(1, "list the servers' addresses")]);
    refused(
        &forward("servers = []"),
        &[(3, "forward.servers: empty; allowed is a list")],
    );
    refused(
        &forward("servers = ['ns.example']"),
        &[(3, "allowed is an address such as")],
    );
    // Statistics are kept per address.
    refused(
        &forward("servers = ['192.0.2.1:53', '192.0.2.1:54']"),
        &[(3, "192.0.2.1 is listed twice")],
    );
    refused(
        &format!(
            "{}{}",
            forward("servers = ['192.0.2.1']"),
            forward("servers = ['192.0.2.2']")
        ),
        &[(4, "a second [[forward]] for a.")],
    );
    let listening = |listen: &str, server: &str| {
        let server = format!("servers = ['{server}']");
        format!("[server]\nlisten = ['{listen}']\n{}", forward(&server))
    };
    for (listen, server) in [
        ("127.0.0.1:5300", "127.0.0.1:5300"),
        ("[::1]:53", "[::1]:53"),
        ("0.0.0.0:53", "127.0.0.1"),
        ("[::]:53", "127.0.0.53"),
        ("[::]:53", "0.0.0.0"),
    ] {
        refused(
            &listening(listen, server),
            &[(4, "this server's own address; allowed are other servers")],
        );
    }
    for (listen, server) in [
        ("127.0.0.1:5300", "127.0.0.1"),
        ("0.0.0.0:53", "127.0.0.1:54"),
        ("0.0.0.0:53", "192.0.2.1"),
    ] {
        assert!(parse(&listening(listen, server)).is_ok());
    }
    let both = "sources = ['axfr:192.0.2.1']\n[[forward]]\nzone = '.'\nservers = ['192.0.2.1']\n";
    refused(
        &format!("[[mirror]]\nzone = '.'\n{both}"),
        &[(
            5,
            ". is a [[mirror]] and a [[forward]]; allowed is one of them",
        )],
    );
}

#[test]
fn stubs_are_zones_with_servers_of_their_own() {
    let stub = |zone: &str| format!("[[stub]]\nzone = '{zone}'\nservers = ['192.0.2.1:5353']\n");
    let config = parse(&stub("corp.example")).unwrap();
    assert!(config.forwards[0].is_stub && config.forwards[0].tls.is_none());
    assert_eq!(config.forwards[0].servers[0].port(), 5353);
    let twice = [stub("a."), stub("a.")].concat();
    refused(&twice, &[(4, "a second [[stub]] for a.")]);
    let forward = stub("a.").replace("stub", "forward");
    refused(
        &[forward, stub("a.")].concat(),
        &[(
            5,
            "a. is a [[forward]] and a [[stub]]; allowed is one of them",
        )],
    );
    refused(
        "[[stub]]\nzone = 'a.'\n",
        &[(1, "list the servers' addresses")],
    );
    let own = "[server]\nlisten = ['192.0.2.1:5353']\n";
    refused(
        &[own, &stub("a.")].concat(),
        &[(4, "this server's own address")],
    );
}
