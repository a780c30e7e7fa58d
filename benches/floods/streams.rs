//! Connections as attackers open them, from many senders.
//!
//! | kind | what it does |
//! |---|---|
//! | idle | connects, and sends nothing |
//! | slow | sends its message octet by octet, one a second (slow-loris) |
//! | ask | sends its message at once, and leaves with the first octet that comes back |
//! | hello | as `ask`, with a TLS ClientHello: the server has signed by then, and the client has computed nothing |
//!
//! At port 53 the message is a query, elsewhere a ClientHello. Whoever is disconnected, or has left, makes place for the next one; so does who is not let in
//! within [`PATIENCE`], for an attacker waits for no kernel's second try.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::random::{Random, Senders, query};

const SECONDS_MAX: f64 = 120.0;
const OPEN_MAX: usize = 60_000;
const EVENTS_MAX: usize = 256;
const TICK_MS: libc::c_int = 1;
const SLOW_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idle,
    Slow,
    Ask,
}

struct Connection {
    kind: Kind,
    message: usize,
    sent: usize,
    begun: Instant,
    is_open: bool,
}

#[derive(Default)]
struct Counts {
    tried: u64,
    not_tried: u64,
    opened: u64,
    failed: u64,
    answered: u64,
    ended: u64,
    open_max: usize,
}

struct Flood {
    server: libc::sockaddr_in,
    senders: Senders,
    random: Random,
    epoll: libc::c_int,
    kinds: Vec<(Kind, usize)>,
    messages: [Vec<u8>; 2],
    /// By descriptor.
    open: Vec<Option<Connection>>,
    open_count: usize,
    /// Who sends an octet when; in order of time.
    slow: VecDeque<(Instant, libc::c_int)>,
    /// Who has begun when; in order of time.
    begun: VecDeque<(Instant, libc::c_int)>,
    counts: Counts,
}

pub fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [
        server,
        port,
        seconds,
        per_s,
        seed,
        open_max,
        kinds,
        senders @ ..,
    ] = args
    else {
        return Err("wrong number of arguments".into());
    };
    let port: u16 = port.parse()?;
    let time = Duration::from_secs_f64(seconds.parse::<f64>()?.clamp(0.0, SECONDS_MAX));
    let per_s: f64 = per_s.parse()?;
    let open_max = open_max.parse::<usize>()?.min(OPEN_MAX);
    let kinds = kinds.split(',').map(|kind| match kind {
        "idle" => Ok((Kind::Idle, 0)),
        "slow" => Ok((Kind::Slow, usize::from(port != 53))),
        "ask" => Ok((Kind::Ask, 0)),
        "hello" => Ok((Kind::Ask, 1)),
        other => Err(format!("{other}: not a kind")),
    });
    // SAFETY: takes no pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    if epoll < 0 {
        return Err(io::Error::last_os_error().into());
    }
    let mut random = Random::new(seed.parse()?);
    let mut flood = Flood {
        server: address(server.parse()?, port),
        senders: Senders::parse(senders)?,
        messages: [
            framed(&query("id.server", 16, 1232)?.0),
            client_hello(&mut random),
        ],
        random,
        epoll,
        kinds: kinds.collect::<Result<_, _>>()?,
        open: Vec::new(),
        open_count: 0,
        slow: VecDeque::new(),
        begun: VecDeque::new(),
        counts: Counts::default(),
    };
    let begun = Instant::now();
    while begun.elapsed() < time {
        let due = match per_s > 0.0 {
            true => (begun.elapsed().as_secs_f64() * per_s) as u64,
            false => flood.counts.tried + EVENTS_MAX as u64,
        };
        while flood.counts.tried + flood.counts.not_tried < due {
            if flood.open_count >= open_max {
                // Who has no place comes later, as he would with any limit on files.
                flood.counts.not_tried = due - flood.counts.tried;
                break;
            }
            flood.connect();
        }
        flood.drip();
        flood.give_up();
        flood.events();
    }
    let Counts {
        tried,
        not_tried,
        opened,
        failed,
        answered,
        ended,
        open_max,
    } = flood.counts;
    println!(
        "{{\"sent\": {tried}, \"not_sent\": {not_tried}, \"opened\": {opened}, \"failed\": {failed}, \"answered\": {answered}, \"ended_by_server\": {ended}, \"open_max\": {open_max}, \"seconds\": {:.3}}}",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

impl Flood {
    fn connect(&mut self) {
        self.counts.tried += 1;
        let sender = address(self.senders.draw(&mut self.random), 0);
        let (kind, message) = self.kinds[self.random.below(self.kinds.len())];
        match self.socket(&sender) {
            Ok(descriptor) => {
                let index = descriptor as usize;
                if self.open.len() <= index {
                    self.open.resize_with(index + 1, || None);
                }
                let begun = Instant::now();
                self.open[index] = Some(Connection {
                    kind,
                    message,
                    sent: 0,
                    begun,
                    is_open: false,
                });
                self.begun.push_back((begun, descriptor));
                self.open_count += 1;
                self.counts.open_max = self.counts.open_max.max(self.open_count);
            }
            Err(_) => self.counts.failed += 1,
        }
    }

    /// A socket that connects; it has no port before it knows where to.
    fn socket(&self, sender: &libc::sockaddr_in) -> io::Result<libc::c_int> {
        // SAFETY: takes no pointers.
        let descriptor =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let one: libc::c_int = 1;
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32,
            u64: descriptor as u64,
        };
        // SAFETY: all pointers are to values that outlive the calls, with their lengths.
        let done = unsafe {
            // A reset instead of TIME_WAIT, which would use up the ports.
            libc::setsockopt(
                descriptor,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
            libc::setsockopt(
                descriptor,
                libc::IPPROTO_IP,
                libc::IP_FREEBIND,
                (&raw const one).cast(),
                4,
            );
            libc::setsockopt(
                descriptor,
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const one).cast(),
                4,
            );
            libc::bind(descriptor, std::ptr::from_ref(sender).cast(), length) == 0
                && (libc::connect(descriptor, (&raw const self.server).cast(), length) == 0
                    || io::Error::last_os_error().raw_os_error() == Some(libc::EINPROGRESS))
                && libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, descriptor, &mut event) == 0
        };
        match done {
            true => Ok(descriptor),
            false => {
                let error = io::Error::last_os_error();
                // SAFETY: it is ours and open.
                unsafe { libc::close(descriptor) };
                Err(error)
            }
        }
    }

    fn close(&mut self, descriptor: libc::c_int) {
        if self.open[descriptor as usize].take().is_some() {
            self.open_count -= 1;
            // SAFETY: it is ours and open.
            unsafe { libc::close(descriptor) };
        }
    }

    fn events(&mut self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: the array has the stated length.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll,
                events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                TICK_MS,
            )
        };
        for event in &events[..count.max(0) as usize] {
            let (what, descriptor) = (event.events as libc::c_int, event.u64 as libc::c_int);
            if what & (libc::EPOLLERR | libc::EPOLLHUP) != 0 {
                match self.open[descriptor as usize]
                    .as_ref()
                    .is_some_and(|c| c.is_open)
                {
                    true => self.counts.ended += 1,
                    false => self.counts.failed += 1,
                }
                self.close(descriptor);
                continue;
            }
            if what & libc::EPOLLOUT != 0 {
                self.opened(descriptor);
            }
            if what & libc::EPOLLIN != 0 {
                self.read(descriptor);
            }
        }
    }

    fn opened(&mut self, descriptor: libc::c_int) {
        let Some(connection) = self.open[descriptor as usize]
            .as_mut()
            .filter(|c| !c.is_open)
        else {
            return;
        };
        connection.is_open = true;
        self.counts.opened += 1;
        match connection.kind {
            Kind::Idle => {}
            Kind::Slow => self.slow.push_back((Instant::now(), descriptor)),
            Kind::Ask => send(descriptor, &self.messages[connection.message]),
        }
    }

    fn read(&mut self, descriptor: libc::c_int) {
        let mut octets = [0_u8; 4096];
        // SAFETY: the buffer has the stated length.
        let length = unsafe { libc::recv(descriptor, octets.as_mut_ptr().cast(), octets.len(), 0) };
        match length {
            1.. => {
                self.counts.answered += 1;
                let asks = self.open[descriptor as usize]
                    .as_ref()
                    .is_some_and(|c| c.kind == Kind::Ask);
                if asks {
                    self.close(descriptor);
                }
            }
            0 => {
                self.counts.ended += 1;
                self.close(descriptor);
            }
            _ => {}
        }
    }

    /// Leaves those that were not let in for too long.
    fn give_up(&mut self) {
        while let Some(&(begun, descriptor)) = self.begun.front()
            && begun.elapsed() >= PATIENCE
        {
            self.begun.pop_front();
            let still = self.open[descriptor as usize].as_ref();
            if still.is_some_and(|still| still.begun == begun && !still.is_open) {
                self.counts.failed += 1;
                self.close(descriptor);
            }
        }
    }

    /// One octet more from each whose second is over. A message that is complete begins anew but for its last octet.
    fn drip(&mut self) {
        let now = Instant::now();
        while self.slow.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, descriptor)) = self.slow.pop_front() else {
                return;
            };
            let Some(connection) = self.open[descriptor as usize]
                .as_mut()
                .filter(|c| c.kind == Kind::Slow)
            else {
                continue;
            };
            let message = &self.messages[connection.message];
            send(descriptor, &message[connection.sent..=connection.sent]);
            connection.sent = (connection.sent + 1) % (message.len() - 1);
            self.slow.push_back((now + SLOW_EVERY, descriptor));
        }
    }
}

/// Sends what the kernel takes; whether somebody listens shows elsewhere.
fn send(descriptor: libc::c_int, octets: &[u8]) {
    // SAFETY: the slice has the stated length.
    unsafe {
        libc::send(
            descriptor,
            octets.as_ptr().cast(),
            octets.len(),
            libc::MSG_NOSIGNAL,
        )
    };
}

fn address(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    // SAFETY: all zeroes are a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
    address.sin_port = port.to_be();
    address
}

/// RFC 1035 section 4.2.2.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// A ClientHello of TLS 1.3 (RFC 8446 section 4.1.2) with a share for X25519 that nobody knows the secret of.
fn client_hello(random: &mut Random) -> Vec<u8> {
    let mut octets =
        |count: usize| -> Vec<u8> { (0..count).map(|_| random.next() as u8).collect() };
    let with_length = |width: usize, body: &[u8]| {
        [&(body.len() as u32).to_be_bytes()[4 - width..], body].concat()
    };
    let extension =
        |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(2, body)].concat();
    let share = [&[0, 0x1D][..], &with_length(2, &octets(32))].concat();
    let extensions = [
        // supported_groups, signature_algorithms, supported_versions, key_share.
        extension(10, &with_length(2, &[0, 0x1D, 0, 0x17])),
        extension(13, &with_length(2, &[4, 3, 8, 4, 8, 7, 4, 1, 8, 5])),
        extension(43, &[2, 3, 4]),
        extension(51, &with_length(2, &share)),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &octets(32),
        &with_length(1, &octets(32)),
        &with_length(2, &[0x13, 1, 0x13, 2, 0x13, 3]),
        &[1, 0],
        &with_length(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    [&[0x16, 3, 1][..], &with_length(2, &message)].concat()
}
