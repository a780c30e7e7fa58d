//! What a verification found, for people and for scripts; the command `zone verify`.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::super::store::Channel;
use super::early::{Checked, Early};
use super::signatures::Tally;
use super::told::{RefusedZone, VerifiedZone, ZoneFault};
use super::{Fault, Policy, Problem, Trust, apex_zonemd, verify_known, verify_unsigned};
use crate::clock::format_utc;
use crate::dns::{Name, Rtype};
use crate::dnssec::zonemd::{self, Zonemd};
use crate::zone::{BuildNotes, LoadError, Room, ZONE_BYTES_MAX, ZoneImage, load_file_before};

/// What was found about a zone that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The zone.
    pub zone: Name,
    /// SOA serial.
    pub serial: u32,
    /// Records, signatures included.
    pub records: u64,
    /// Zone cuts.
    pub delegations: u64,
    /// Signatures that were verified; 0 for a zone that was not.
    pub signatures: u64,
    /// Latest inception among them, seconds since 1970.
    pub valid_from: Option<u64>,
    /// When the first set is left without a valid signature, seconds since 1970.
    pub expires_at: Option<u64>,
    /// How the zone denies.
    pub denial: DenialKind,
    /// SHA-256 of the zone's content, lower-case hexadecimal; the name of the generation.
    pub digest: String,
    /// What became of the ZONEMD record.
    pub zonemd: ZonemdStatus,
    /// The ZONEMD digest that the zone has, lower-case hexadecimal.
    pub zonemd_digest: Option<String>,
    /// Whether signatures were verified.
    pub secure: bool,
    /// What somebody should hear of.
    pub warnings: Vec<Warning>,
}

/// How a zone proves what it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialKind {
    /// Not at all, or not looked at.
    None,
    /// NSEC.
    Nsec,
    /// NSEC3.
    Nsec3 {
        /// Some delegations without DS may be left out of the chain.
        opt_out: bool,
    },
}

/// What became of a zone's ZONEMD record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonemdStatus {
    /// The zone has the digest that it says.
    Verified {
        /// Hash algorithm: 1 SHA-384, 2 SHA-512.
        hash: u8,
    },
    /// The zone has none; in a verified zone the apex' denial record shows that none was removed.
    Absent,
    /// Only schemes or hash algorithms that are not known here (RFC 8976 section 4).
    Unsupported,
}

/// What somebody should hear of although the zone is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// No digest covers what signatures do not.
    #[error(
        "no ZONEMD: delegations and glue are not covered by any signature; use a source with TSIG, TLS or HTTPS"
    )]
    NoZonemd,
    /// There is a digest that cannot be checked.
    #[error(
        "ZONEMD has no scheme and hash algorithm that is supported: delegations and glue are not covered"
    )]
    UnsupportedZonemd,
    /// Nothing was verified.
    #[error("the zone is not signed or not verified: its data is taken as it is")]
    Unverified,
}

impl Report {
    pub(super) fn verified(
        image: &ZoneImage,
        tally: &Tally,
        denial: DenialKind,
        zonemd: ZonemdStatus,
    ) -> Report {
        let warnings = match zonemd {
            ZonemdStatus::Verified { .. } => vec![],
            ZonemdStatus::Absent => vec![Warning::NoZonemd],
            ZonemdStatus::Unsupported => vec![Warning::UnsupportedZonemd],
        };
        Report {
            signatures: tally.signatures,
            valid_from: tally.from,
            expires_at: tally.until,
            denial,
            secure: true,
            warnings,
            ..Report::unsigned(image, zonemd)
        }
    }

    pub(super) fn unsigned(image: &ZoneImage, zonemd: ZonemdStatus) -> Report {
        let digest = match zonemd {
            ZonemdStatus::Verified { hash } => verified_digest(image, hash),
            _ => None,
        };
        Report {
            zone: image.apex().clone(),
            serial: image.serial(),
            records: image.record_count(),
            delegations: image.delegation_count(),
            signatures: 0,
            valid_from: None,
            expires_at: None,
            denial: DenialKind::None,
            digest: hex(&image.digest()),
            zonemd,
            zonemd_digest: digest,
            secure: false,
            warnings: vec![Warning::Unverified],
        }
    }

    /// What the verification proves, in a sentence.
    pub fn proves(&self) -> &'static str {
        match (self.secure, self.zonemd) {
            (true, ZonemdStatus::Verified { .. }) => {
                "every record is the owner's, delegations and glue included: the signed digest of the zone chains to the trust anchor"
            }
            (true, _) => {
                "every signed set is the owner's and no name was added or removed; NS and glue of delegations are only as good as the channel they came by"
            }
            (false, ZonemdStatus::Verified { .. }) => {
                "the zone was not damaged on the way; an unsigned digest is a checksum and says nothing about who made it"
            }
            (false, _) => "nothing but that the file is a zone",
        }
    }

    /// What verification proves together with the channel that the zone came by, in a sentence.
    pub fn proves_over(&self, channel: Channel) -> String {
        let by = match channel {
            Channel::Plain => return self.proves().to_owned(),
            Channel::Tsig => "with a shared key (TSIG)",
            Channel::Tls => "with its certificate (TLS)",
            Channel::Https => "with its certificate (HTTPS)",
        };
        match (self.secure, self.zonemd) {
            // Nothing is left for the channel to vouch for.
            (true, ZonemdStatus::Verified { .. }) => self.proves().to_owned(),
            (true, _) => format!(
                "every signed set is the owner's and no name was added or removed; NS and glue of delegations are what the source sent, which proved itself {by}"
            ),
            (false, _) => format!(
                "the zone is what the source sent, which proved itself {by}; nothing says that it is the owner's"
            ),
        }
    }

    /// What somebody should hear of a zone that came by this channel: one whose other end has proven itself covers what
    /// signatures and digest leave.
    pub fn warnings_over(&self, channel: Channel) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        if channel.is_authenticated() {
            warnings.retain(|w| !matches!(w, Warning::NoZonemd | Warning::UnsupportedZonemd));
        }
        warnings
    }

    /// The report for people, as of `at` seconds since 1970.
    pub fn to_text(&self, at: u64) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| out.push_str(&format!("{key:<12} {value}\n"));
        line("zone", &self.zone.to_string());
        line("verdict", self.verdict());
        line("serial", &self.serial.to_string());
        line("records", &self.records.to_string());
        line("delegations", &self.delegations.to_string());
        if let (Some(from), Some(until)) = (self.valid_from, self.expires_at) {
            let (from, until) = (format_utc(from), format_utc(until));
            line("signatures", &self.signatures.to_string());
            line("valid", &format!("from {from} until {until}"));
            line("as of", &format_utc(at));
            line("denial", self.denial_word());
        }
        line("ZONEMD", &self.zonemd_words());
        line("digest", &self.digest);
        line("proves", self.proves());
        for warning in &self.warnings {
            line("warning", &warning.to_string());
        }
        out
    }

    /// The report for scripts, as of `at` seconds since 1970.
    pub fn told(&self, at: u64) -> VerifiedZone {
        VerifiedZone {
            verdict: self.verdict().to_owned(),
            zone: self.zone.to_string(),
            serial: self.serial,
            records: self.records,
            delegations: self.delegations,
            signatures: self.signatures,
            valid_from: self.valid_from.map(format_utc),
            valid_until: self.expires_at.map(format_utc),
            verified_at: format_utc(at),
            denial: self.denial_word().to_owned(),
            zonemd: self.zonemd_words(),
            zonemd_digest: self.zonemd_digest.clone(),
            digest: self.digest.clone(),
            proves: self.proves().to_owned(),
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    fn verdict(&self) -> &'static str {
        if self.secure {
            "verified"
        } else {
            "unverified"
        }
    }

    fn denial_word(&self) -> &'static str {
        match self.denial {
            DenialKind::None => "none",
            DenialKind::Nsec => "NSEC",
            DenialKind::Nsec3 { opt_out: false } => "NSEC3",
            DenialKind::Nsec3 { opt_out: true } => "NSEC3 with opt-out",
        }
    }

    fn zonemd_words(&self) -> String {
        match self.zonemd {
            ZonemdStatus::Verified { hash } => {
                let hash = if hash == zonemd::SHA384 {
                    "SHA-384"
                } else {
                    "SHA-512"
                };
                format!("verified (SIMPLE, {hash})")
            }
            ZonemdStatus::Absent => "absent".into(),
            ZonemdStatus::Unsupported => "unsupported".into(),
        }
    }
}

fn verified_digest(image: &ZoneImage, hash: u8) -> Option<String> {
    let rdatas = apex_zonemd(image);
    let mut records = rdatas.iter().filter_map(|r| Zonemd::parse(r));
    let record = records.find(|z| z.hash == hash && z.is_supported())?;
    Some(hex(record.digest))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// Verifies the zone in `file`, read within `room`, as of `at` (seconds since 1970) and writes what was found to `out`, as text
/// or as one JSON object. `trust` gives what is trusted about a zone, nothing if that is unknown.
///
/// Returns the exit code: 0 the zone is as it should be, 1 it is not, 2 the file cannot be read. A zone
/// that is not signed and about which nothing is trusted has nothing to verify and gives 0, with a verdict
/// that says so; a signed zone without trust gives 1.
pub fn zone_verify(
    file: &Path,
    room: &Room,
    at: u64,
    trust: &dyn Fn(&Name) -> Trust,
    policy: &Policy,
    json: bool,
    out: &mut dyn Write,
) -> i32 {
    let (code, text) = match verify_file(file, room, at, trust, policy) {
        Ok(report) if json => (0, format!("{:#}\n", json!(report.told(at)))),
        Ok(report) => (0, report.to_text(at)),
        Err(refusal) => refusal.words(file, json),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        // The reader went away or the disk is full: the verdict was not delivered.
        Err(_) => code.max(1),
    }
}

enum Refusal {
    Load(LoadError),
    Faults(Name, Vec<Fault>),
}

fn verify_file(
    file: &Path,
    room: &Room,
    at: u64,
    trust: &dyn Fn(&Name) -> Trust,
    policy: &Policy,
) -> Result<Report, Refusal> {
    let mut early = Early::new(policy);
    let loaded =
        load_file_before(file, None, ZONE_BYTES_MAX, room, &mut early).map_err(Refusal::Load)?;
    let checked = early.finish();
    let trust = trust(loaded.image.apex());
    verify_built(&loaded.image, &loaded.notes, &checked, &trust, at, policy)
        .map_err(|faults| Refusal::Faults(loaded.image.apex().clone(), faults))
}

/// Verifies the records that `image` was built from. An image has one TTL per set; records that had
/// several are not what was signed, although the image may be.
pub(super) fn verify_built(
    image: &ZoneImage,
    notes: &BuildNotes,
    checked: &Checked,
    trust: &Trust,
    at: u64,
    policy: &Policy,
) -> Result<Report, Vec<Fault>> {
    if trust.is_empty() && !has_keys(image) {
        return verify_unsigned(image);
    }
    if let Some((owner, rtype)) = notes.first_mixed_ttl.clone() {
        return Err(vec![Fault {
            owner,
            rtype: Some(rtype),
            problem: Problem::MixedTtls,
        }]);
    }
    verify_known(image, None, checked, trust, at, policy)
}

fn has_keys(image: &ZoneImage) -> bool {
    let present = |rtype| image.find(image.apex(), rtype).is_some();
    image.is_signed() || present(Rtype::DNSKEY) || present(Rtype::RRSIG)
}

impl Refusal {
    fn words(&self, file: &Path, json: bool) -> (i32, String) {
        let code = match self {
            Refusal::Load(
                LoadError::Io { .. } | LoadError::Scratch { .. } | LoadError::TooLarge { .. },
            ) => 2,
            _ => 1,
        };
        let text = match (self, json) {
            (Refusal::Load(error), true) => refused(None, vec![ZoneFault::of_file(error)]),
            (Refusal::Load(error), false) => format!("{error}\n"),
            (Refusal::Faults(zone, faults), true) => {
                refused(Some(zone), faults.iter().map(ZoneFault::from).collect())
            }
            (Refusal::Faults(_, faults), false) => {
                let file = file.display();
                faults.iter().map(|f| format!("{file}: {f}\n")).collect()
            }
        };
        (code, text)
    }
}

/// A refusal for scripts.
fn refused(zone: Option<&Name>, faults: Vec<ZoneFault>) -> String {
    let refusal = RefusedZone {
        verdict: "refused".to_owned(),
        zone: zone.map(Name::to_string),
        faults,
    };
    format!("{:#}\n", json!(refusal))
}

/// A text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time; write 2026-08-01T12:00:00Z, 20260801120000 (UTC) or @1785585600")]
pub struct TimeError;

/// Seconds since 1970 from RFC 3339, from `YYYYMMDDHHMMSS` in UTC as RRSIG records have it, or from
/// `@SECONDS`.
///
/// # Errors
/// The text has none of these forms, or names a moment before 1970.
pub fn parse_time(text: &str) -> Result<u64, TimeError> {
    if let Some(seconds) = text.strip_prefix('@') {
        let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
        return seconds.parse().ok().filter(|_| digits).ok_or(TimeError);
    }
    let compact = text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit());
    let rfc3339 = if compact {
        let (date, time) = text.split_at(8);
        let (y, m, d) = (&date[..4], &date[4..6], &date[6..]);
        let (h, min, s) = (&time[..2], &time[2..4], &time[4..]);
        format!("{y}-{m}-{d}T{h}:{min}:{s}Z")
    } else {
        text.to_owned()
    };
    let moment = time::OffsetDateTime::parse(&rfc3339, &Rfc3339).map_err(|_| TimeError)?;
    u64::try_from(moment.unix_timestamp()).map_err(|_| TimeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_three_forms() {
        for (text, expected) in [
            ("2026-08-01T12:00:00Z", Ok(1_785_585_600)),
            ("2026-08-01T14:00:00+02:00", Ok(1_785_585_600)),
            ("20260801120000", Ok(1_785_585_600)),
            ("@1785585600", Ok(1_785_585_600)),
            ("@0", Ok(0)),
            ("19700101000000", Ok(0)),
            ("1969-12-31T23:59:59Z", Err(TimeError)),
            ("2026-08-01", Err(TimeError)),
            ("20260832120000", Err(TimeError)),
            ("1785585600", Err(TimeError)),
            ("@", Err(TimeError)),
            ("@+5", Err(TimeError)),
            ("@99999999999999999999", Err(TimeError)),
            ("", Err(TimeError)),
            ("2026-08-01T12:00:00Ü", Err(TimeError)),
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }
}
