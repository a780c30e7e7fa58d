//! Zone transfers out of the simulated internet: any host gives any zone that it serves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Message, Rcode, Record, Rtype};
use holdfast::mirror::source::Stream;
use holdfast::mirror::{BoxFuture, Connect};
use holdfast::zone::ZoneImage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::{Fault, SimNet};

/// Connects to the hosts of a network.
pub struct Transfers(pub Arc<SimNet>);

impl Connect for Transfers {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let net = self.0.clone();
        Box::pin(async move {
            match net.fault(server.ip()) {
                Fault::Silent => std::future::pending().await,
                Fault::Unreachable => return Err(io::ErrorKind::HostUnreachable.into()),
                _ => {}
            }
            let (ours, theirs) = tokio::io::duplex(256 << 10);
            tokio::spawn(serve(theirs, net, server));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn serve(mut link: impl Stream, net: Arc<SimNet>, server: SocketAddr) {
    while let Ok(len) = link.read_u16().await {
        let mut query = vec![0; usize::from(len)];
        if link.read_exact(&mut query).await.is_err() {
            return;
        }
        let query = Message::parse(&query).unwrap();
        let question = query.question.clone().unwrap();
        let Some(zone) = net.zone_at(server.ip(), &question.name) else {
            let _ = send(&mut link, &query.reply(Rcode::REFUSED)).await;
            continue;
        };
        let records = match question.rtype {
            Rtype::SOA => vec![soa(&zone)],
            _ => transfer(&zone),
        };
        for piece in records.chunks(50) {
            let mut reply = query.reply(Rcode::NOERROR);
            reply.authoritative = true;
            reply.answer = piece.to_vec();
            if send(&mut link, &reply).await.is_err() {
                return;
            }
        }
    }
}

async fn send(link: &mut impl Stream, message: &Message) -> io::Result<()> {
    let wire = message.encode(MESSAGE_LEN_MAX);
    link.write_u16(wire.len() as u16).await?;
    link.write_all(&wire).await
}

fn soa(zone: &ZoneImage) -> Record {
    let set = zone.find(zone.apex(), Rtype::SOA).unwrap();
    set.records(false).next().unwrap()
}

/// RFC 5936 section 2.2: the SOA first and last.
fn transfer(zone: &ZoneImage) -> Vec<Record> {
    let mut out = vec![soa(zone)];
    for node in zone.nodes() {
        let sets = node.sets.iter().flat_map(|set| set.records(true));
        out.extend(sets.filter(|r| r.rtype != Rtype::SOA));
    }
    out.push(soa(zone));
    out
}
