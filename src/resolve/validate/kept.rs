//! Links that were proven earlier, for when they cannot be had now (`resolve::retained`).
//!
//! Each is what the parent of a zone was *validated* to say of its DS set. The walk goes on from there in two cases: at its
//! beginning, when the parent is known to be gone, so that nobody waits for it again; and where a link was asked for in vain. It only
//! ever moves down, so it ends. Links that came and were bad are another matter: those break the chain as always.

use super::chain::{Cut, Place, Validation, Zone};
use super::judge::{Judged, Shape};
use super::keys::Known;
use super::signed::Checked;
use super::{Anchor, AsOf, Lifetime, Verdict, ZoneStatus};
use crate::clock::Now;
use crate::dns::{Ds, Name, Question, Rdata, Rtype};
use crate::resolve::retained::{Cut as KeptDs, KeptCut, USE_TTL_S};
use crate::resolve::trace::What;
use crate::resolve::{RetainedNote, Security};

/// What the parent of a zone says of its DS set, proven just now.
#[derive(Debug, Clone)]
pub struct ProvenCut {
    /// The zone.
    pub zone: Name,
    /// The one that speaks for its parent.
    pub by: Name,
    /// What it says.
    pub cut: KeptDs,
    /// The same as an answer to who asks for the DS set. A denial that came with a referral has no SOA.
    pub answer: Verdict,
}

/// The keys of a zone, proven just now.
#[derive(Debug, Clone)]
pub struct ProvenKeys {
    /// The zone.
    pub zone: Name,
    /// Its DNSKEY set, as an answer to who asks for that.
    pub answer: Verdict,
}

impl Validation {
    /// The same, with what is kept of the cuts on the way to the answer's home, from the top.
    pub fn keeping(mut self, kept: Vec<KeptCut>) -> Validation {
        self.kept = kept;
        self
    }

    /// Whether it could go on without a link.
    pub fn keeps_links(&self) -> bool {
        !self.kept.is_empty()
    }

    /// What was proven on the way of DS sets, with what their parents say now.
    pub fn proven_cuts(&self) -> &[ProvenCut] {
        &self.proven
    }

    /// The keys of zones on the way that were proven with what their servers say now.
    pub fn proven_keys(&self) -> &[ProvenKeys] {
        &self.proven_keys
    }

    /// The kept link that was accepted although its signatures have run out.
    pub fn accepted_as_of(&self) -> Option<&RetainedNote> {
        self.accepted.as_ref()
    }

    /// The deepest kept cut at or above `home` whose parent is gone, if it is deeper than `known`.
    pub(super) fn needed_cut(&self, home: &Name, known: &Name) -> Option<KeptCut> {
        let fits = |kept: &&KeptCut| {
            let zone = &kept.note.zone;
            kept.needed && home.is_within(zone) && zone.is_below(known)
        };
        self.kept.iter().rev().find(fits).cloned()
    }

    /// The next kept cut below a link that could not be had, and at or above `home`: past it there is nobody to vouch for the
    /// answer.
    pub(super) fn cut_past(&self, link: &Question, home: &Name) -> Option<KeptCut> {
        let past = |kept: &&KeptCut| {
            let zone = &kept.note.zone;
            let is_past = match link.rtype {
                Rtype::DS => zone.is_within(&link.name),
                _ => zone.is_below(&link.name),
            };
            is_past && home.is_within(zone)
        };
        self.kept.iter().find(past).cloned()
    }

    /// Goes on at a kept cut.
    pub(super) fn step_over(&mut self, kept: KeptCut, now: Now) {
        let KeptCut { cut, note, .. } = kept;
        let run_out = cut.has_run_out(now.wall_s);
        self.tell_kept(&cut, &note, run_out, now);
        let as_of = run_out.then(|| AsOf::Retained(note.clone()));
        let name = note.zone.clone();
        if run_out {
            self.accepted = Some(note);
        }
        let life = Lifetime::seconds(now, USE_TTL_S);
        self.place = match cut {
            KeptDs::Signed { ds, .. } => Place::AtCut(Cut {
                name,
                named_by: Anchor {
                    ds: ds.into(),
                    dnskey: Vec::new(),
                },
                life,
                as_of,
            }),
            KeptDs::Unsigned { .. } | KeptDs::NotTold => Place::InZone(Zone {
                reached: name.clone(),
                name,
                known: Known {
                    status: ZoneStatus::Insecure(None),
                    life,
                    as_of,
                    refresh_from: now.mono,
                },
            }),
        };
    }

    fn tell_kept(&self, cut: &KeptDs, note: &RetainedNote, run_out: bool, now: Now) {
        self.trace.note(now, || {
            let (state, ds) = match cut {
                KeptDs::Signed { ds, .. } => ("signed", &ds[..]),
                _ => ("insecure", &[][..]),
            };
            let tag = |rdata: &Rdata| Some(Ds::parse(rdata)?.key_tag);
            let signatures = match run_out {
                true => "; signatures are not valid now, accepted as verified before",
                false => "",
            };
            What::Link {
                zone: note.zone.to_string(),
                state: state.into(),
                key_tags: ds.iter().filter_map(tag).collect(),
                why: format!("{note}{signatures}"),
            }
        });
    }

    /// A server of the parent has said, and proven, what there is to say of the DS set of `zone`.
    pub(super) fn note_cut(&mut self, by: &Name, zone: &Name, judged: &Judged, now: Now) {
        let until_s = judged.life.wall_end_s;
        let cut = match (&judged.insecure, &judged.shape) {
            (Some(_), _) | (None, Shape::NoData { delegation: true }) => {
                KeptDs::Unsigned { until_s }
            }
            (None, Shape::Answer { .. }) => {
                let ds = judged.answer.iter().filter(|s| s.rtype == Rtype::DS);
                KeptDs::Signed {
                    ds: ds.flat_map(|s| s.rdatas.clone()).collect(),
                    until_s,
                }
            }
            _ => return,
        };
        let answer = self.judged(judged.clone(), None, now);
        self.proven.push(ProvenCut {
            zone: zone.clone(),
            by: by.clone(),
            cut,
            answer,
        });
    }

    /// Servers of `zone` have given its keys, and what names them was proven.
    pub(super) fn note_keys(&mut self, zone: &Name, checked: Checked) {
        let answer = Verdict {
            security: Security::Secure,
            answer: vec![checked.set],
            authority: Vec::new(),
            ttl_max_s: None,
            errors: Vec::new(),
            bogus_from: None,
            unsigned_from: None,
        };
        self.proven_keys.push(ProvenKeys {
            zone: zone.clone(),
            answer,
        });
    }
}
