//! The real program with AF_XDP between two network namespaces: what comes past the kernel is answered as by sockets, everything else goes on as before, and
//! nothing of it stays behind.
//!
//! It takes root, iproute2, `dig` and a program that was built with the feature: `.ci/xdp`. Where something of that is missing it says so loudly;
//! `HOLDFAST_LAB=required` makes that a failure.
#![cfg(feature = "xdp")]

#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "serve/namespace.rs"]
mod namespace;

use std::io::{Error, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use daemon::{Daemon, PATIENCE, eventually, query};
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Rcode, Rtype};
use serde_json::Value;

const SERVER: &str = "10.77.0.1";
const SERVER_6: &str = "fd77::1";
/// Comes later.
const SERVER_LATER: &str = "10.77.0.9";
const CLIENT: &str = "10.77.0.2";
/// Of the server's half and the client's.
const MACS: [&str; 2] = ["02:00:00:00:77:01", "02:00:00:00:77:02"];

/// A thread in a network of its own.
struct Elsewhere(Sender<Box<dyn FnOnce() + Send>>);

impl Elsewhere {
    /// With the other half of the veth pair, whose one half stays here.
    fn new() -> Elsewhere {
        let (sender, work) = channel::<Box<dyn FnOnce() + Send>>();
        let (told, tid) = channel();
        std::thread::spawn(move || {
            assert!(namespace::enter());
            // SAFETY: the call has no arguments and cannot fail.
            told.send(unsafe { libc::gettid() }).unwrap();
            for work in work {
                work();
            }
        });
        let elsewhere = Elsewhere(sender);
        let tid = tid.recv().unwrap();
        ip(
            "link add xs numrxqueues 1 numtxqueues 1 type veth peer name xc numrxqueues 1 numtxqueues 1",
        );
        ip(&format!("link set xc netns {tid}"));
        ip(&format!("link set xs address {} up", MACS[0]));
        ip(&format!("address add {SERVER}/24 dev xs"));
        ip(&format!("address add {SERVER_6}/64 dev xs nodad"));
        elsewhere.run(|| {
            ip(&format!("link set xc address {} up", MACS[1]));
            ip(&format!("address add {CLIENT}/24 dev xc"));
            ip("address add fd77::2/64 dev xc nodad");
        });
        elsewhere
    }

    /// What `work` finds there.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, found): (_, Receiver<T>) = channel();
        let work = move || told.send(work()).unwrap();
        self.0.send(Box::new(work)).unwrap();
        found.recv().expect("the work there panicked")
    }

    /// The octets of the answer that a client there gets.
    fn ask(&self, server: &str, port: u16, wire: Vec<u8>) -> Vec<u8> {
        let server = SocketAddr::new(server.parse().unwrap(), port);
        let answer = self.run(move || daemon::datagram(server, &wire, PATIENCE));
        answer.unwrap_or_else(|| panic!("no answer from {server}"))
    }
}

/// Runs `ip` of iproute2 in this thread's network.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether everything is there.
fn can_run() -> bool {
    let tools = ["ip", "dig"].iter().filter(|tool| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output();
        !found.is_ok_and(|found| found.status.success())
    });
    let mut missing: Vec<String> = tools.map(|tool| format!("no {tool}")).collect();
    // SAFETY: no pointers; the descriptor is closed at once.
    match unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) } {
        -1 => missing.push(format!("no AF_XDP ({})", Error::last_os_error())),
        // SAFETY: it is ours.
        fd => drop(unsafe { libc::close(fd) }),
    }
    if missing.is_empty() && namespace::enter() {
        return true;
    }
    // Not by a macro: what those print of a test that passes is shown to nobody.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {}", missing.join(", "));
    let is_required = std::env::var("HOLDFAST_LAB").is_ok_and(|lab| lab == "required");
    assert!(!is_required, "HOLDFAST_LAB=required");
    false
}

/// A name server that knows every name.
fn authority() -> u16 {
    let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let query = Message::parse(&buffer[..len]).unwrap();
            let mut reply = query.reply(Rcode::NXDOMAIN);
            reply.recursion_available = true;
            let _ = socket.send_to(&reply.encode(MESSAGE_LEN_MAX), from);
        }
    });
    port
}

fn zone() -> String {
    let long = "\"a text that is long enough to make an answer that fits into no datagram of 512 octets\" ".repeat(8);
    format!(
        "$TTL 300\n@ SOA ns host 7 36000 9000 604800 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.80\nwww AAAA 2001:db8::80\nlong TXT {long}\n"
    )
}

fn start(xdp: &str) -> Daemon {
    let config = format!(
        "[server]\nlisten = ['0.0.0.0:PORT', '[::]:PORT']\nxdp = {xdp}\nworkers = 1\n[access]\nallow = ['10.77.0.0/24', 'fd77::/64']\n\
         [resolver]\ndnssec = 'off'\nquery_loopback = true\n[[forward]]\nzone = 'far.test.'\nservers = ['127.0.0.9:{}']\n\
         [[zone]]\nname = 'own.test.'\nfile = 'own.zone'\n",
        authority()
    );
    Daemon::start(&config, &[("own.zone", &zone())])
}

fn status(daemon: &Daemon) -> Value {
    let output = daemon.command(&["--json", "status"]);
    let mut status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["past_kernel"][0].take()
}

fn count(daemon: &Daemon, key: &str) -> u64 {
    status(daemon)[key].as_u64().unwrap()
}

fn dropped(daemon: &Daemon, reason: &str) -> u64 {
    status(daemon)["dropped"][reason].as_u64().unwrap()
}

fn asking(name: &str, rtype: Rtype) -> Message {
    let mut query = query(name, rtype);
    query.recursion_desired = true;
    query
}

fn has_program() -> bool {
    ip("link show xs").contains("xdp")
}

#[test]
fn what_comes_past_the_kernel_is_answered_as_by_sockets() {
    if !can_run() {
        return;
    }
    let there = Elsewhere::new();
    let mut daemon = start("['xs']");
    let port = daemon.port;
    assert_eq!(status(&daemon)["mode"], "generic", "{}", daemon.log());
    assert!(has_program());
    let with_edns = |mut query: Message, options: Vec<(u16, Vec<u8>)>| {
        let mut edns = Edns::new(1232, true);
        edns.options = options;
        query.edns = Some(edns);
        query
    };
    // The same octets as by a socket: from this side of the pair they come by the loopback. The second time answers are ready.
    let mut asked = 0;
    for query in [
        asking("www.own.test.", Rtype::A),
        with_edns(asking("www.own.test.", Rtype::AAAA), vec![]),
        asking("wWw.oWn.test.", Rtype::A),
        asking("no.own.test.", Rtype::A),
        asking("long.own.test.", Rtype::TXT),
        with_edns(asking("long.own.test.", Rtype::TXT), vec![]),
        asking("www.elsewhere.test.", Rtype::A),
    ] {
        let wire = query.encode(MESSAGE_LEN_MAX);
        for server in [SERVER, SERVER_6, SERVER, SERVER_6] {
            let past = there.ask(server, port, wire.clone());
            let server = SocketAddr::new(server.parse().unwrap(), port);
            let by_socket = daemon::datagram(server, &wire, PATIENCE).unwrap();
            assert_eq!(past, by_socket, "{query:?} at {server}");
            asked += 1;
        }
    }
    let counted = status(&daemon);
    assert_eq!(
        (counted["received"].as_u64(), counted["answered"].as_u64()),
        (Some(asked), Some(asked)),
        "{counted}"
    );
    // What is not known yet waits, and is answered by a socket.
    for server in [SERVER, SERVER_6] {
        let name = format!("{}.far.test.", if server == SERVER { "a" } else { "b" });
        let answer = there.ask(
            server,
            port,
            asking(&name, Rtype::A).encode(MESSAGE_LEN_MAX),
        );
        assert_eq!(Message::parse(&answer).unwrap().rcode, Rcode::NXDOMAIN);
    }
    assert_eq!(count(&daemon, "passed_on"), 2);
    let received = asked + 2;
    assert_eq!(count(&daemon, "received"), received);

    // Fragments stay with the kernel, and so do options.
    let padding = with_edns(
        asking("www.own.test.", Rtype::A),
        vec![(option::PADDING, vec![0; 2000])],
    );
    for server in [SERVER, SERVER_6] {
        let answer = there.ask(server, port, padding.encode(MESSAGE_LEN_MAX));
        assert_eq!(Message::parse(&answer).unwrap().answer.len(), 1);
    }
    let wire = asking("www.own.test.", Rtype::A).encode(MESSAGE_LEN_MAX);
    assert!(there.run(move || ask_with_options(port, &wire)) > 12);
    assert_eq!(count(&daemon, "received"), received);

    // Real clients: a truncated answer leads to TCP, which is none of this.
    let dig = |arguments: String| {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let output = there.run(move || Command::new("dig").args(arguments).output().unwrap());
        String::from_utf8(output.stdout).unwrap()
    };
    let said = dig(format!("-p {port} @{SERVER} +noedns long.own.test TXT"));
    assert!(
        said.contains("retrying in TCP mode") && said.contains("status: NOERROR"),
        "{said}"
    );
    let said = dig(format!("-p {port} @{SERVER_6} +dnssec www.own.test AAAA"));
    assert!(
        said.contains("2001:db8::80") && said.contains("(UDP)"),
        "{said}"
    );
    let received = received + 2;

    // What is wrong is dropped for its reason, and nobody hears of it.
    let good = frame(CLIENT, port);
    let mut with_wrong_sum = good.clone();
    *with_wrong_sum.last_mut().unwrap() ^= 1;
    let from_loopback = frame("127.0.0.1", port);
    let from_server = frame(SERVER, port);
    let mut to_another = good.clone();
    // 10.77.0.3 is forwarded or not by the kernel, but nothing for this server.
    to_another[33] = 3;
    let mut to_all = good.clone();
    to_all[..6].fill(0xFF);
    there.run(move || {
        for frame in [
            with_wrong_sum,
            from_loopback,
            from_server,
            to_another,
            to_all,
            good,
        ] {
            send_frame(&frame);
        }
    });
    eventually("the good one", || {
        (count(&daemon, "received") == received + 1).then_some(())
    });
    let counted = status(&daemon);
    assert_eq!(
        (
            &counted["dropped"]["udp_checksum"],
            &counted["dropped"]["source"]
        ),
        (&1.into(), &2.into()),
        "{counted}"
    );
    assert_eq!(
        dropped(&daemon, "destination") + dropped(&daemon, "malformed"),
        0
    );

    // Addresses come and go.
    let asked = |server: &str| {
        let before = count(&daemon, "received");
        there.ask(
            server,
            port,
            asking("www.own.test.", Rtype::A).encode(MESSAGE_LEN_MAX),
        );
        count(&daemon, "received") - before
    };
    ip(&format!("address add {SERVER_LATER}/32 dev xs"));
    there.run(|| ip(&format!("route add {SERVER_LATER}/32 dev xc")));
    eventually("the new address", || {
        (asked(SERVER_LATER) == 1).then_some(())
    });
    ip(&format!("address del {SERVER_LATER}/32 dev xs"));
    ip(&format!("address add {SERVER_LATER}/32 dev lo"));
    eventually("the address of another interface", || {
        (asked(SERVER_LATER) == 0).then_some(())
    });

    // Nothing stays behind, however it ends.
    daemon.signal(libc::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!has_program());
    let mut daemon = start("['xs']");
    assert!(has_program());
    daemon.signal(libc::SIGKILL);
    daemon.wait();
    eventually("the program gone", || (!has_program()).then_some(()));
}

#[test]
fn sockets_go_on_where_the_interface_is_not_there_or_goes() {
    if !can_run() {
        return;
    }
    let there = Elsewhere::new();
    let daemon = start("['nowhere', 'lo']");
    let port = daemon.port;
    let wire = asking("www.own.test.", Rtype::A).encode(MESSAGE_LEN_MAX);
    there.ask(SERVER, port, wire.clone());
    let said = String::from_utf8(daemon.command(&["status"]).stdout).unwrap();
    assert!(
        said.contains("! nowhere is served by sockets, not by AF_XDP: there is no such interface"),
        "{said}"
    );
    assert!(
        said.contains("! lo is served by sockets, not by AF_XDP: AF_XDP is for Ethernet alone"),
        "{said}"
    );
    assert!(daemon.log().contains("no AF_XDP here"), "{}", daemon.log());
    let said = String::from_utf8(daemon.command(&["check"]).stdout).unwrap();
    assert!(
        said.contains("this machine has no interface nowhere"),
        "{said}"
    );
    drop(daemon);

    let daemon = start("['xs']");
    there.ask(SERVER, daemon.port, wire.clone());
    assert_eq!(count(&daemon, "answered"), 1);
    // The other half goes with it; the address is the machine's still.
    ip("link del xs");
    eventually("the end of it", || {
        status(&daemon)["error"].as_str().map(str::to_owned)
    });
    ip(&format!("address add {SERVER}/32 dev lo"));
    let at = SocketAddr::new(SERVER.parse().unwrap(), daemon.port);
    assert!(daemon::datagram(at, &wire, PATIENCE).is_some());
}

/// Asks with an option of IPv4 (RFC 2113); how many octets come back.
fn ask_with_options(port: u16, wire: &[u8]) -> usize {
    let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let alert = [0x94u8, 4, 0, 0];
    // SAFETY: the pointer and the length describe `alert`, which outlives the call.
    let done = unsafe {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_OPTIONS,
            alert.as_ptr().cast(),
            4,
        )
    };
    assert_eq!(done, 0);
    socket.send_to(wire, (SERVER, port)).unwrap();
    socket.recv(&mut [0; 4096]).unwrap()
}

/// A question in a frame.
fn frame(source: &str, port: u16) -> Vec<u8> {
    let sum = |octets: &[u8]| {
        let words = octets
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum();
        let sum = (sum & 0xFFFF) + (sum >> 16);
        !(((sum & 0xFFFF) + (sum >> 16)) as u16)
    };
    let mac = |text: &str| -> Vec<u8> {
        text.split(':')
            .map(|octet| u8::from_str_radix(octet, 16).unwrap())
            .collect()
    };
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let addresses = [address(source), address(SERVER)].concat();
    let data = query("www.own.test.", Rtype::A).encode(MESSAGE_LEN_MAX);
    let len = (8 + data.len()) as u16;
    let mut udp = [
        &999u16.to_be_bytes()[..],
        &port.to_be_bytes(),
        &len.to_be_bytes(),
        &[0, 0],
        &data,
    ]
    .concat();
    let check = sum(&[&addresses[..], &[0, 17], &len.to_be_bytes(), &udp].concat());
    udp[6..8].copy_from_slice(&check.to_be_bytes());
    let mut ip = [
        &[0x45, 0][..],
        &(20 + len).to_be_bytes(),
        &[0, 1, 0, 0, 64, 17, 0, 0],
        &addresses,
    ]
    .concat();
    let check = sum(&ip);
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    [&mac(MACS[0])[..], &mac(MACS[1]), &[8, 0], &ip, &udp].concat()
}

/// Puts a frame onto the client's half of the pair.
fn send_frame(frame: &[u8]) {
    // SAFETY: the name ends with a zero; an all-zero address is a valid one, and lives through the call as the frame does.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(fd >= 0);
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = libc::if_nametoindex(c"xc".as_ptr()) as i32;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let sent = libc::sendto(
            fd,
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            len,
        );
        assert_eq!(sent, frame.len() as isize, "{}", Error::last_os_error());
        libc::close(fd);
    }
}
