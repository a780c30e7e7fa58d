//! The lab's zones: written, keyed and signed at run time with ldns and BIND tools, TTLs scaled down so that all run out.
//!
//! | zone | signed | what it is for |
//! |---|---|---|
//! | `.` | NSEC, ZONEMD | three servers named in `root-servers.far.`, as the real ones are named below `net.` |
//! | `home.` | NSEC, ZONEMD | the domestic TLD, transferable |
//! | `far.` | NSEC3 opt-out | the foreign TLD |
//! | `s00.`.. / `u00.`.. | NSEC / no | fresh TLDs: nobody has asked for them before a test does |
//! | `q00.home.`.. / `p00.home.`.. | NSEC / no | fresh second-level zones |
//! | `bank.home.` | NSEC, ZONEMD | 1000 hosts, a wildcard, an answer too large for UDP |
//! | `gov.home.` | NSEC3 | domestic name, name servers named (without glue) and standing abroad |
//! | `portal.home.` | NSEC | a CNAME into the other TLD, signed and unsigned; a DNAME |
//! | `shop.home.` `plain.far.` | no | insecure delegations, the second one under opt-out |
//! | `broken.home.` `expired.home.` | NSEC | DS of another key; signatures that ran out |
//! | `new.` | no | a TLD that only later versions of the root delegate |

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const ROOT_TTL_S: u64 = 30;
pub const HOST_COUNT: u32 = 1000;
pub const FRESH_COUNT: u32 = 40;
/// Serial of the first root version.
pub const SERIAL: u32 = 1000;

const ROOT_SERVERS: [(char, &str); 3] =
    [('a', "10.53.1.1"), ('b', "10.53.2.1"), ('c', "10.53.3.1")];
const NEGATIVE_TTL_S: u32 = 5;

/// Address of host `number` of `bank.home.` and `plain.far.`, named `h0000` and on.
pub fn host_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 200, (number >> 8) as u8, number as u8)
}

/// Address of `www` in every zone that does not list its hosts.
pub const WWW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

/// A zone file and the site whose servers serve it.
pub struct Placed {
    pub site: &'static str,
    pub zone: String,
    pub file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signing {
    None,
    Nsec,
    Nsec3,
    OptOut,
    Expired,
}

/// What is wrong with a root version that the xfr server is made to publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// A properly signed ZONEMD over other data.
    Zonemd,
    /// One signature changed; no ZONEMD, so that nothing else gives it away.
    Signature,
}

/// The directory of zone files and keys.
pub struct Zones {
    dir: PathBuf,
    pub placed: Vec<Placed>,
    /// Key file stem of the root's key.
    root_key: String,
    /// The delegations that every root version has.
    delegations: String,
}

impl Zones {
    /// Writes and signs everything, children first because parents carry their DS.
    pub fn build(dir: &Path) -> io::Result<Zones> {
        let mut zones = Zones {
            dir: dir.to_owned(),
            placed: Vec::new(),
            root_key: String::new(),
            delegations: String::new(),
        };
        let (in_home, in_far) = zones.second_level()?;
        zones.top_level(&in_home, &in_far)?;
        zones.root_key = zones.key(".")?;
        zones.publish_root("root.zone", SERIAL, false, Fault::None)?;
        zones.publish_root("xfr.zone", SERIAL, false, Fault::None)?;
        for site in ["root-a", "root-b", "root-c"] {
            zones.place(site, ".", "root.zone");
        }
        zones.place("xfr", ".", "xfr.zone");
        Ok(zones)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The root's key as a DS record in zone file form.
    pub fn anchor_ds(&self) -> io::Result<String> {
        self.ds(&self.root_key)
    }

    /// The root's key as BIND's tools want it.
    pub fn anchor_for_delv(&self) -> io::Result<String> {
        let ds = self.anchor_ds()?;
        let fields: Vec<&str> = ds
            .split_whitespace()
            .skip_while(|word| *word != "DS")
            .skip(1)
            .collect();
        let [tag, algorithm, digest_type, digest] = fields[..] else {
            return Err(io::Error::other(format!("odd DS: {ds}")));
        };
        Ok(format!(
            "trust-anchors {{ . static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n"
        ))
    }

    pub fn hints(&self) -> String {
        root_ns(3_600_000)
    }

    /// Writes one version of the signed root to `file`. `with_new` adds the delegation of `new.`.
    pub fn publish_root(
        &self,
        file: &str,
        serial: u32,
        with_new: bool,
        fault: Fault,
    ) -> io::Result<()> {
        let mut text = format!(
            "$ORIGIN .\n$TTL {ROOT_TTL_S}\n. SOA a.root-servers.far. ops.nic.home. {serial} 4 2 600 {NEGATIVE_TTL_S}\n"
        );
        text += &root_ns(ROOT_TTL_S);
        text += &self.delegations;
        if with_new {
            text += "new. NS ns1.far.\nnew. NS ns2.far.\n";
        }
        if fault == Fault::Zonemd {
            let _ = writeln!(text, ". ZONEMD {serial} 1 1 {}", "ab".repeat(48));
        }
        // Written beside and renamed: a server that reloads in between reads the old version or the new one.
        let (unsigned, signed) = (format!("{file}.unsigned"), format!("{file}.next"));
        std::fs::write(self.path(&unsigned), text)?;
        let zonemd: &[&str] = if fault == Fault::None {
            &["-z", "simple:sha384"]
        } else {
            &[]
        };
        self.ldns_sign(".", &unsigned, &signed, &self.root_key, zonemd)?;
        if fault == Fault::Signature {
            let sound = std::fs::read_to_string(self.path(&signed))?;
            std::fs::write(self.path(&signed), spoil_signature(&sound, "home.", "DS"))?;
        }
        std::fs::rename(self.path(&signed), self.path(file))
    }

    /// Every zone below the TLDs. Returns the delegations for `home.` and for `far.`.
    fn second_level(&mut self) -> io::Result<(String, String)> {
        let hosts: String = (0..HOST_COUNT)
            .map(|n| format!("h{n:04} A {}\n", host_address(n)))
            .collect();
        let large: String = (0..8)
            .map(|n| format!("big TXT \"{n} {}\"\n", "x".repeat(240)))
            .collect();
        let bank = format!("{hosts}{large}*.wild A 192.0.2.7\nmail MX 10 h0001\n");
        let portal =
            "cname CNAME edge.cdn.far.\nmixed CNAME www.plain.far.\nold DNAME bank.home.\n";

        let mut home = String::new();
        home += &self.domestic("bank.home.", &bank, Signing::Nsec)?;
        home += &self.domestic("portal.home.", portal, Signing::Nsec)?;
        home += &self.domestic("shop.home.", "", Signing::None)?;
        home += &self.domestic("expired.home.", "", Signing::Expired)?;
        let broken = self.domestic("broken.home.", "", Signing::Nsec)?;
        home += &broken[..broken.find("broken.home. IN DS").unwrap_or(broken.len())];
        home += &self.ds(&self.key("broken.home.")?)?;
        home += &self.gov()?;
        for n in 0..FRESH_COUNT {
            home += &self.domestic(&format!("q{n:02}.home."), "", Signing::Nsec)?;
            home += &self.domestic(&format!("p{n:02}.home."), "", Signing::None)?;
        }

        let mut far = String::new();
        far += &self.foreign("news.far.", &hosts, Signing::Nsec)?;
        far += &self.foreign("plain.far.", &hosts, Signing::None)?;
        far += &self.foreign("cdn.far.", "edge A 192.0.2.9\n", Signing::Nsec)?;
        far += &self.foreign(
            "hosting.far.",
            "ns3 A 10.53.22.1\nns4 A 10.53.22.2\n",
            Signing::Nsec,
        )?;
        far += &self.root_servers()?;
        Ok((home, far))
    }

    /// `gov.home.`: its servers' names have to be looked up in the other TLD.
    fn gov(&mut self) -> io::Result<String> {
        let ns = "@ NS ns3.hosting.far.\n@ NS ns4.hosting.far.\n";
        let ds = self.zone(
            "far-host",
            "gov.home.",
            &format!("{ns}www A {WWW}\n"),
            Signing::Nsec3,
            10,
        )?;
        Ok(format!(
            "gov.home. NS ns3.hosting.far.\ngov.home. NS ns4.hosting.far.\n{ds}"
        ))
    }

    /// `root-servers.far.`: unsigned, served by the roots themselves.
    fn root_servers(&mut self) -> io::Result<String> {
        let (mut zone, mut delegation) = (String::new(), String::new());
        for (letter, address) in ROOT_SERVERS {
            let _ = writeln!(zone, "@ NS {letter}\n{letter} A {address}");
            let _ = writeln!(
                delegation,
                "root-servers.far. NS {letter}.root-servers.far."
            );
            let _ = writeln!(delegation, "{letter}.root-servers.far. A {address}");
        }
        self.zone(
            "root-a",
            "root-servers.far.",
            &zone,
            Signing::None,
            ROOT_TTL_S,
        )?;
        for site in ["root-b", "root-c"] {
            self.place(site, "root-servers.far.", "root-servers.far.zone");
        }
        Ok(delegation)
    }

    fn top_level(&mut self, in_home: &str, in_far: &str) -> io::Result<()> {
        let home_ns = "@ NS ns1.nic\n@ NS ns2.nic\nns1.nic A 10.53.11.1\nns2.nic A 10.53.11.2\n";
        let home_ds = self.zone(
            "home-tld",
            "home.",
            &format!("{home_ns}{in_home}"),
            Signing::Nsec,
            20,
        )?;
        let far_ns = "@ NS ns1\n@ NS ns2\nns1 A 10.53.21.1\nns2 A 10.53.21.2\n";
        let far_ds = self.zone(
            "far-tld",
            "far.",
            &format!("{far_ns}{in_far}"),
            Signing::OptOut,
            20,
        )?;

        let mut delegations = format!(
            "home. NS ns1.nic.home.\nhome. NS ns2.nic.home.\nns1.nic.home. A 10.53.11.1\nns2.nic.home. A 10.53.11.2\n{home_ds}\
             far. NS ns1.far.\nfar. NS ns2.far.\nns1.far. A 10.53.21.1\nns2.far. A 10.53.21.2\n{far_ds}"
        );
        let body = format!("@ NS ns1.far.\n@ NS ns2.far.\nwww A {WWW}\n");
        for n in 0..FRESH_COUNT {
            for (zone, signing) in [
                (format!("s{n:02}."), Signing::Nsec),
                (format!("u{n:02}."), Signing::None),
            ] {
                delegations += &self.zone("far-tld", &zone, &body, signing, 20)?;
                let _ = writeln!(delegations, "{zone} NS ns1.far.\n{zone} NS ns2.far.");
            }
        }
        self.zone("far-tld", "new.", &body, Signing::None, 20)?;
        self.delegations = delegations;
        Ok(())
    }

    fn domestic(&mut self, zone: &str, body: &str, signing: Signing) -> io::Result<String> {
        self.hosted("home-host", "10.53.12", zone, body, signing)
    }

    fn foreign(&mut self, zone: &str, body: &str, signing: Signing) -> io::Result<String> {
        self.hosted("far-host", "10.53.22", zone, body, signing)
    }

    /// A zone on two in-zone servers; returns its delegation with glue and DS.
    fn hosted(
        &mut self,
        site: &'static str,
        net: &str,
        zone: &str,
        body: &str,
        signing: Signing,
    ) -> io::Result<String> {
        let ns = format!("@ NS ns1\n@ NS ns2\nns1 A {net}.1\nns2 A {net}.2\nwww A {WWW}\n");
        let ds = self.zone(site, zone, &format!("{ns}{body}"), signing, 10)?;
        Ok(format!(
            "{zone} NS ns1.{zone}\n{zone} NS ns2.{zone}\nns1.{zone} A {net}.1\nns2.{zone} A {net}.2\n{ds}"
        ))
    }

    /// Writes, signs and places a zone. Returns its DS record, empty where it is unsigned.
    fn zone(
        &mut self,
        site: &'static str,
        zone: &str,
        body: &str,
        signing: Signing,
        ttl_s: u64,
    ) -> io::Result<String> {
        let file = format!("{zone}zone");
        let soa = format!("@ SOA ns1 ops {SERIAL} 4 2 600 {NEGATIVE_TTL_S}\n");
        let text = format!("$ORIGIN {zone}\n$TTL {ttl_s}\n{soa}{body}");
        self.place(site, zone, &file);
        if signing == Signing::None {
            std::fs::write(self.path(&file), text)?;
            return Ok(String::new());
        }
        let key = self.key(zone)?;
        let unsigned = format!("{file}.unsigned");
        std::fs::write(self.path(&unsigned), text)?;
        let zonemd = ["-z", "simple:sha384"];
        match signing {
            Signing::OptOut => self.bind_sign_opt_out(zone, &unsigned, &file, &key)?,
            Signing::Nsec3 => {
                let flags = ["-n", "-a", "1", "-t", "0", zonemd[0], zonemd[1]];
                self.ldns_sign(zone, &unsigned, &file, &key, &flags)?;
            }
            Signing::Expired => {
                let flags = ["-i", "20200101", "-e", "20200201"];
                self.ldns_sign(zone, &unsigned, &file, &key, &flags)?;
            }
            Signing::Nsec | Signing::None => {
                self.ldns_sign(zone, &unsigned, &file, &key, &zonemd)?
            }
        }
        self.ds(&key)
    }

    fn place(&mut self, site: &'static str, zone: &str, file: &str) {
        let file = self.path(file);
        self.placed.push(Placed {
            site,
            zone: zone.to_owned(),
            file,
        });
    }

    /// A new ECDSA P-256 key that signs everything of its zone.
    fn key(&self, zone: &str) -> io::Result<String> {
        let stem = self.run(
            "ldns-keygen",
            &["-r", "/dev/urandom", "-a", "ECDSAP256SHA256", "-k", zone],
        )?;
        Ok(stem.trim().to_owned())
    }

    fn ds(&self, key: &str) -> io::Result<String> {
        let ds = self.run("ldns-key2ds", &["-n", "-2", &format!("{key}.key")])?;
        // The tool prints the key's TTL; without it the zone's own applies.
        let words: Vec<&str> = ds.split_whitespace().collect();
        match words.iter().position(|word| *word == "DS") {
            Some(at) => Ok(format!("{} IN {}\n", words[0], words[at..].join(" "))),
            None => Err(io::Error::other(format!("no DS in {ds:?}"))),
        }
    }

    fn ldns_sign(
        &self,
        zone: &str,
        from: &str,
        to: &str,
        key: &str,
        flags: &[&str],
    ) -> io::Result<()> {
        let mut arguments = flags.to_vec();
        arguments.extend(["-o", zone, "-f", to, from, key]);
        self.run("ldns-signzone", &arguments).map(|_| ())
    }

    /// ldns sets the opt-out flag but still lists insecure delegations; BIND's signer leaves them out, as large TLDs do.
    fn bind_sign_opt_out(&self, zone: &str, from: &str, to: &str, key: &str) -> io::Result<()> {
        let mut text = std::fs::read_to_string(self.path(from))?;
        text += &std::fs::read_to_string(self.path(&format!("{key}.key")))?;
        std::fs::write(self.path(from), text)?;
        let chain = ["-q", "-3", "-", "-A", "-H", "0", "-z", "-P", "-O", "full"];
        let mut arguments = chain.to_vec();
        arguments.extend(["-o", zone, "-f", to, from, key]);
        self.run("dnssec-signzone", &arguments).map(|_| ())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!(
            "{program} {}: {said}",
            arguments.join(" ")
        )))
    }
}

fn root_ns(ttl_s: u64) -> String {
    let mut text = String::new();
    for (letter, address) in ROOT_SERVERS {
        let _ = writeln!(text, ". {ttl_s} NS {letter}.root-servers.far.");
        let _ = writeln!(text, "{letter}.root-servers.far. {ttl_s} A {address}");
    }
    text
}

/// Changes the signature over one RRset and nothing else.
fn spoil_signature(zone: &str, owner: &str, covered: &str) -> String {
    let mut text = String::with_capacity(zone.len());
    for line in zone.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hit = words.first() == Some(&owner)
            && words.get(3) == Some(&"RRSIG")
            && words.get(4) == Some(&covered);
        match line.rsplit_once(' ').filter(|_| hit) {
            Some((head, signature)) => {
                let first = if signature.starts_with('A') { 'B' } else { 'A' };
                let _ = writeln!(text, "{head} {first}{}", &signature[1..]);
            }
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    assert_ne!(
        text.trim_end(),
        zone.trim_end(),
        "no signature over {owner} {covered} to spoil"
    );
    text
}
