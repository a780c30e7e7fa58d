//! Sources that prove who they are: transfers over TLS, and web servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Done, Refresher, SourceError};
use crate::config::{AxfrTls, HttpsUrl, Source};
use crate::mirror::Generation;
use crate::mirror::generation::Candidate;
use crate::mirror::source::Connect;
use crate::mirror::source::axfr::{self, Fetched};
use crate::mirror::source::https::{self, HttpsError, Way};
use crate::mirror::source::meter::{MeteredConnect, Stage};
use crate::mirror::source::tls::{self, Tls, TlsConnect, TrustError};
use crate::mirror::store::{Channel, Provenance, SourceKind, Validators};
use crate::mirror::work::{behind, blocking};
use crate::tls::Identity;

/// The version of a file that a web server had when it was last asked.
pub struct Seen {
    validators: Validators,
    serial: u32,
    digest: [u8; 32],
}

/// Who vouches for what comes from a source.
pub fn channel_of(source: &Source) -> Channel {
    match source {
        Source::Axfr { tls: Some(_), .. } => Channel::Tls,
        Source::Axfr { tsig: Some(_), .. } => Channel::Tsig,
        Source::Axfr { .. } | Source::File(_) => Channel::Plain,
        Source::Https { .. } => Channel::Https,
    }
}

impl Refresher {
    /// The way to a source of transfers: counted, and through TLS where the operator says so.
    pub(super) async fn way_to(&self, source: &Source) -> Result<Arc<dyn Connect>, TrustError> {
        let plain: Arc<dyn Connect> = Arc::new(MeteredConnect {
            inner: self.shared.deps.connect.clone(),
            meter: self.meter.clone(),
        });
        let Source::Axfr {
            addr,
            tls: Some(AxfrTls { name, ca, client }),
            ..
        } = source
        else {
            return Ok(plain);
        };
        // RFC 9103 section 9.3.1 asks for a name; without one the address is what the certificate must carry.
        let name = match name {
            Some(name) => tls::server_name(name)?,
            None => tls::server_name(&addr.ip().to_string())?,
        };
        let (ca, client) = (ca.clone(), client.clone());
        let (roots, identity) = blocking(move || {
            let identity = client.map(|files| Identity::load(&files.cert, &files.key));
            Ok::<_, TrustError>((tls::roots(ca.as_deref())?, identity.transpose()?))
        })
        .await?;
        Ok(Arc::new(TlsConnect {
            inner: plain,
            tls: Tls::for_transfers(roots, identity.as_ref(), &self.shared.deps.clock),
            name,
        }))
    }

    pub(super) async fn try_https(
        &mut self,
        source: &Source,
        url: &HttpsUrl,
        ca: Option<&Path>,
    ) -> Result<Done, SourceError> {
        if self.want().newer_than.is_none() {
            // All of the zone is about to come: not in vain, if nobody can vouch for it yet.
            self.basis().await?;
        }
        let (text, held) = (source.to_string(), self.held_file(&source.to_string()));
        let fetched = self.fetch_file(url, ca, held.as_ref()).await?;
        let (spool, validators) = match (fetched, held) {
            (https::Fetched::Body(spool, validators), _) => (spool, validators),
            (https::Fetched::Unchanged, Some((_, serial))) => {
                let same = self.want().judge(serial).unwrap_or(Fetched::Same);
                return self.nothing_new(same, SourceKind::Network).await;
            }
            (https::Fetched::Unchanged, None) => {
                let why = "`not modified`, which was not asked";
                return Err(HttpsError::Mismatch(why).into());
            }
        };
        self.meter.enter(Stage::Building);
        let (zone, bytes_max) = (
            self.mirror.config.zone.clone(),
            self.mirror.config.bytes_max,
        );
        let from = url.path.clone();
        let image = behind(move || spool.into_zone(&from, &zone, bytes_max)).await;
        let image = image.map_err(HttpsError::Spool)?;
        self.meter.set_records(image.record_count());
        let (serial, digest) = (image.serial(), image.digest());
        let seen = Seen {
            validators: validators.clone(),
            serial,
            digest,
        };
        self.seen.insert(text.clone(), seen);
        let is_other = self.mirror.rolled_back_from().is_none()
            && (self.mirror.current()).is_some_and(|g| g.image().digest() != digest);
        match self.want().judge(serial) {
            // Signed anew under the same serial: what is held would run out while the source has better.
            Some(Fetched::Same) if is_other => {}
            Some(other) => return self.nothing_new(other, SourceKind::Network).await,
            None => {}
        }
        let provenance = Provenance {
            channel: Channel::Https,
            validators: Some(validators).filter(|v| !v.is_empty()),
            ..self.provenance(text, SourceKind::Network)
        };
        self.admit(Candidate::new(image, provenance)).await
    }

    async fn fetch_file(
        &self,
        url: &HttpsUrl,
        ca: Option<&Path>,
        held: Option<&(Validators, u32)>,
    ) -> Result<https::Fetched, HttpsError> {
        let (config, deps) = (&self.mirror.config, &self.shared.deps);
        let ca = ca.map(Path::to_owned);
        let roots = blocking(move || tls::roots(ca.as_deref())).await?;
        let (shared, zone, bytes_max) =
            (self.shared.clone(), config.zone.clone(), config.bytes_max);
        let spool = blocking(move || shared.store.spool(&zone, bytes_max)).await?;
        let limits = axfr::Limits {
            bytes_max: config.bytes_max,
            time_max: Duration::from_secs(config.transfer_time_max_s),
        };
        let connect = MeteredConnect {
            inner: deps.connect.clone(),
            meter: self.meter.clone(),
        };
        let way = Way {
            connect: &connect,
            lookup: &*deps.lookup,
            tls: &Tls::for_web(roots, &deps.clock),
            clock: &deps.clock,
        };
        https::fetch(&way, url, held.map(|(v, _)| v), limits, spool).await
    }

    /// The validators of the file that is held, with its serial: of the current version, or of one that is not wanted. Those
    /// of any other would let the server say "not modified" of something that is not here.
    fn held_file(&self, source: &str) -> Option<(Validators, u32)> {
        let mirror = &self.mirror;
        let current = mirror.current().filter(|g| !g.is_bootstrap());
        if let Some(seen) = self.seen.get(source) {
            let is_current = current.is_some_and(|g| g.image().digest() == seen.digest);
            let serial = Some(seen.serial);
            let is_held =
                is_current || mirror.held_serial() == serial || mirror.rolled_back_from() == serial;
            let told = is_held && !seen.validators.is_empty();
            return told.then(|| (seen.validators.clone(), seen.serial));
        }
        let is_from_there = |g: &Arc<Generation>| {
            g.provenance().source == source && !mirror.must_prove(g, &self.shared)
        };
        let current = current.filter(is_from_there)?;
        Some((current.provenance().validators.clone()?, current.serial()))
    }
}
