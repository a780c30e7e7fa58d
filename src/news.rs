//! What an operator is told of beyond the log: the kinds of it.
//!
//! Why: a line in the log reaches who reads the log. Some lines have to reach a person at once. Such a line carries the field `alert`
//! with one of these words, where it is logged and nowhere else; `alert` picks those lines up and sends them on.

use crate::metrics::{Metric, Metrics};

macro_rules! news {
    ($($(#[doc = $doc:literal])+ $kind:ident = $word:literal, $metric:ident;)+) => {
        /// A kind of news.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum News {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl News {
            /// All of them.
            pub const ALL: &'static [News] = &[$(News::$kind,)+];

            /// Its name in the log and in alerts.
            pub const fn word(self) -> &'static str {
                match self {
                    $(News::$kind => $word,)+
                }
            }

            /// The metric that counts it.
            pub fn metric(self, metrics: &Metrics) -> &Metric {
                match self {
                    $(News::$kind => &metrics.$metric,)+
                }
            }
        }
    };
}

news! {
    /// The servers of a mirrored zone: online, suspect, isolated, recovering.
    MirrorState = "mirror_state", alerts_mirror_state_total;
    /// A prefix is dead, or answers again.
    Prefix = "prefix", alerts_prefix_total;
    /// A mirror comes to 50, 75 or 100 % of its time, or is up to date again.
    MirrorAge = "mirror_age", alerts_mirror_age_total;
    /// A mirror's refresh fails, or works again.
    MirrorRefresh = "mirror_refresh", alerts_mirror_refresh_total;
    /// A version was refused by verification.
    VersionRefused = "version_refused", alerts_version_refused_total;
    /// A new version waits for the operator.
    VersionHeld = "version_held", alerts_version_held_total;
    /// NS or DS of a protected name changed, and the version was taken.
    ProtectedName = "protected_name", alerts_protected_name_total;
    /// A zone's keys changed without notice.
    Keys = "keys", alerts_keys_total;
    /// Something is wrong with the trust anchors of a zone.
    TrustAnchor = "trust_anchor", alerts_trust_anchor_total;
    /// The certificate of `[server.tls]` runs out.
    Certificate = "certificate", alerts_certificate_total;
    /// A drill or shadow drill begins.
    DrillStarted = "drill_started", alerts_drill_started_total;
    /// A drill or shadow drill is over.
    DrillEnded = "drill_ended", alerts_drill_ended_total;
    /// A drill was given up because too much failed.
    DrillAborted = "drill_aborted", alerts_drill_aborted_total;
}

impl News {
    /// The kind of that name.
    pub fn from_word(word: &str) -> Option<News> {
        News::ALL.iter().copied().find(|kind| kind.word() == word)
    }
}
