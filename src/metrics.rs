//! Counters and gauges: a leaf that every module may count in.
//!
//! One struct of atomics, handed around as `Arc<Metrics>`; the name of a field is the name of the
//! metric. `status --json` shows all of them. A counter ends in `_total`; what goes up and down does
//! not. Each thing that an operator would alert on has one.

mod histogram;
mod past;

use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::{BOUNDS_MS, Histogram, Times};
pub use past::{AllPast, How, PastKernel, REASONS};

/// One number, counted without locks.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Moves a gauge that counts things, when one of them begins or ends to be counted.
    pub fn step(&self, was: bool, is: bool) {
        match (was, is) {
            (false, true) => drop(self.0.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.0.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// All metrics of the process.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Metric,)+
            /// How long clients' questions waited that could not be answered at once, from their receipt to their answer.
            pub waits: Histogram,
            /// What comes and goes past the kernel.
            pub past: AllPast,
        }

        impl Metrics {
            /// Name, help text and value of each metric, in order of declaration.
            pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name.value()),)+]
            }
        }
    };
}

metrics! {
    /// Queries received over UDP.
    queries_udp_total,
    /// Queries received over TCP.
    queries_tcp_total,
    /// Queries received over TLS.
    queries_tls_total,
    /// Queries received over HTTPS.
    queries_https_total,
    /// Queries received over QUIC.
    queries_quic_total,
    /// Requests over HTTPS that were no query: another path, method or media type, malformed, too long or too slow.
    https_refused_total,
    /// Connections that were closed at once because all places, or those of their network, are taken (`limits.tcp_connections_max`).
    connections_crowded_total,
    /// Packets that were to open a connection and were dropped, or reset, before that: as more than the share of their network while too many came, nearly all by the
    /// kernel, or because the line of those that wait to be taken was full. Who is dropped tries again.
    connections_lost_total,
    /// Of these about so many as more than the share of their network: the kernel's filter does not say how many.
    connections_sieved_total,
    /// Connections that had to leave idle places to others.
    connections_ousted_total,
    /// Times that a connection over TCP or TLS was read no further for a while: 64 of its queries were in work, or 4096 of all connections'.
    streams_held_total,
    /// Datagrams and connections whose client a proxy of `server.proxy_from` has named (PROXY protocol), its own questions among them.
    proxy_headers_total,
    /// The same without a right header: they were dropped.
    proxy_headers_wrong_total,
    /// Connections over QUIC that clients have open, handshakes not counted.
    quic_connections,
    /// Connections over QUIC whose handshake came to its end.
    quic_connections_total,
    /// Connections over QUIC whose handshake did not.
    quic_handshake_failures_total,
    /// Connections over TLS that clients have open, those of HTTPS among them, handshakes not counted.
    tls_connections,
    /// Connections over TLS whose handshake came to its end.
    tls_connections_total,
    /// Connections that were to become TLS and did not: no TLS, nothing agreed upon, too slow, or too many at once.
    tls_handshake_failures_total,
    /// Seconds until the certificate of `[server.tls]` runs out, 0 once it has; left out where there is none.
    tls_certificate_left_s,
    /// Packets that were no plain DNS query: they got no answer, or one that says why (FORMERR, NOTIMP, BADVERS).
    queries_malformed_total,
    /// Queries answered REFUSED: by the access list, for what is not offered, or for what only recursion could find.
    queries_refused_total,
    /// Queries dropped because too many were being worked on, in all or of one host.
    queries_shed_total,
    /// Datagrams that were dropped unread, nearly all by the kernel before a socket for queries: for want of room, or as more than the share of their network while
    /// others were lost.
    queries_lost_total,
    /// Of these about so many as more than the share of their network: the kernel's filter does not say how many.
    queries_sieved_total,
    /// Answers over UDP that could not be sent: no room in the socket's buffer or the network device's queue.
    answers_unsent_full_total,
    /// The same: a packet filter on this machine let none out, or its connection tracking is full.
    answers_unsent_denied_total,
    /// The same: this machine has no way to the client.
    answers_unsent_unreachable_total,
    /// The same, for another reason: clients that asked from port 0, for example.
    answers_unsent_other_total,
    /// Queries that got nothing because their network asks too much (`limits.queries_per_prefix_s`).
    limited_queries_dropped_total,
    /// The same, that got TC=1 alone: who is at his address asks again over TCP.
    limited_queries_truncated_total,
    /// The same over TCP and its like, that got REFUSED.
    limited_queries_refused_total,
    /// Answers that were not sent because their network was told the same too often (`limits.responses_per_s`).
    limited_responses_dropped_total,
    /// The same, in whose place TC=1 alone was sent.
    limited_responses_truncated_total,
    /// Networks, and accounts of what they are told, that were forgotten while they were in use: more than there is room for.
    limited_forgotten_total,
    /// Answers given from the cache.
    answers_cache_total,
    /// Answers that were given again as they had left a moment before, over UDP; they are also counted as what they are.
    answers_ready_total,
    /// Answers that needed upstream.
    answers_live_total,
    /// Answers that a mirror had a part in.
    answers_mirror_total,
    /// Answers from own zones.
    answers_own_total,
    /// Answers for special names (localhost., 10.in-addr.arpa. ...), made here.
    answers_special_total,
    /// Answers with addresses that were made from IPv4 ones (`[dns64]`).
    answers_dns64_total,
    /// Queries with a client cookie alone (RFC 7873).
    cookies_new_total,
    /// Queries with a server cookie that was made here for their sender.
    cookies_good_total,
    /// Queries with a server cookie that is foreign, too old or forged.
    cookies_bad_total,
    /// Links of answers that were made from validated denials and wildcards (RFC 8198), without a question upstream.
    answers_aggressive_total,
    /// Links of answers that were made from a validated DNAME (RFC 6672), without a question upstream.
    answers_dname_total,
    /// SERVFAIL answers.
    answers_servfail_total,
    /// Answers that validation failed for: SERVFAIL, but for clients who asked for them unchecked (CD).
    answers_bogus_total,
    /// Answers that rest on signatures accepted as of their verification.
    answers_as_of_total,
    /// Answers with a part that has run out, because nothing newer could be had (RFC 8767).
    answers_stale_total,
    /// Links of answers that had run out and were answered at once: their authorities are known to be dead.
    stale_known_total,
    /// The same, after the resolution had failed.
    stale_failed_total,
    /// The same, because the resolution took longer than clients wait; it went on.
    stale_late_total,
    /// The same, in place of data that did not validate.
    stale_bogus_total,
    /// Of all of these, links that were found in memory.
    stale_memory_total,
    /// Of all of these, links that were read from disk.
    stale_disk_total,
    /// Looks whether something newer can be had.
    stale_refreshes_total,
    /// Of these, the ones that found nothing.
    stale_refresh_failures_total,
    /// Answers on disk, for an outage.
    stale_disk_entries,
    /// Bytes of them there.
    stale_disk_bytes,
    /// Rows of them written or removed.
    stale_writes_total,
    /// Answers that found no place on the way to the disk, and rows that were unsound or too old when they were read.
    stale_dropped_total,
    /// Zones in whose place old data began to be answered.
    stale_zones_total,
    /// Questions that failed, or got old data, because too many wait for the servers of their zone, or for anybody.
    upstream_crowded_total,
    /// Questions that were not put to a server because as many as may (`limits.upstream_per_server_max`) are outstanding there; another address of the zone is asked.
    upstream_server_crowded_total,
    /// Clients that were told at once that it takes long, or got old data, because too many wait for long already.
    clients_crowded_total,
    /// Zones below which many names that do not exist are asked for now: 50 a second, or more than `limits.denials_per_zone_s`.
    random_subdomain_zones,
    /// Questions that were not asked because of that limit.
    random_subdomain_refused_total,
    /// Packets sent upstream.
    upstream_sent_total,
    /// Upstream questions without an answer in time.
    upstream_timeouts_total,
    /// Upstream replies dropped because ID, question, cookie or form did not match.
    upstream_mismatched_total,
    /// Of these: another ID. Late answers over TCP are not among them.
    upstream_mismatched_id_total,
    /// Of these: another question.
    upstream_mismatched_question_total,
    /// Of these: another client cookie, or one of an illegal length.
    upstream_mismatched_cookie_total,
    /// UDP datagrams that the kernel dropped because no socket waits for such: answers from another address or port than was asked, late
    /// ones, scans. Its own count since the machine's start, of all that this network namespace got.
    datagrams_unclaimed_total,
    /// Upstream questions that so many mismatched replies came to that they were asked again over TCP: somebody is guessing.
    upstream_strays_total,
    /// Upstream replies over UDP put aside because the case of the name had changed.
    upstream_case_changed_total,
    /// Upstream replies over UDP put aside because they lacked the cookie that their server had sent before.
    upstream_cookie_missing_total,
    /// Upstream replies that asked for the question again with another cookie (BADCOOKIE).
    upstream_cookie_refused_total,
    /// Upstream replies that were cut short (TC), so that the question went over TCP.
    upstream_truncated_total,
    /// Upstream questions asked again with less of EDNS, because the server refused it.
    upstream_edns_refused_total,
    /// TCP connections open towards servers.
    upstream_tcp_connections,
    /// TCP connections opened towards servers.
    upstream_tcp_opened_total,
    /// TCP connections of these whose server has proven its name over TLS (`[[forward]]` with `tls = true`).
    upstream_tls_opened_total,
    /// The same whose handshake came to nothing: another name, a certificate that nobody here trusts, no TLS, too slow.
    upstream_tls_failures_total,
    /// Upstream questions sent over a TCP connection that was already open.
    upstream_tcp_reused_total,
    /// Upstream questions sent again because their TCP connection was closed under them.
    upstream_tcp_retried_total,
    /// Upstream replies over TCP that came after their question was given up.
    upstream_tcp_late_total,
    /// Upstream replies that could not be parsed.
    upstream_malformed_total,
    /// Questions that failed because no forwarder gave an answer.
    forward_failures_total,
    /// Steps of resolutions that were read from a mirror.
    failover_steps_total,
    /// Delegations kept past their TTL.
    retained_entries,
    /// Name servers whose addresses are kept past their TTL.
    retained_servers,
    /// Bytes that both are accounted for.
    retained_bytes,
    /// Zones whose servers are known to be gone, so that the delegations they gave last are in use.
    retained_parents_gone,
    /// Links of answers that were found through a retained delegation.
    retained_answers_total,
    /// Name servers whose kept addresses were used because they could not be looked up.
    retained_addresses_total,
    /// Retained delegations ended by a denial of their parent.
    retained_denied_total,
    /// Retained delegations that were asked for anew.
    retained_refreshes_total,
    /// Of these, the ones that failed.
    retained_refresh_failures_total,
    /// Mirror refreshes that failed.
    mirror_refresh_failures_total,
    /// Mirror refreshes that brought a new generation.
    mirror_generations_total,
    /// Candidate versions refused by verification.
    mirror_refused_total,
    /// Stored versions of mirrors that were found damaged while they were served.
    mirror_damaged_total,
    /// Mirrors that nobody has confirmed for a quarter of their signatures' time or of SOA expire.
    mirrors_ageing,
    /// Of these: for three quarters or more, or with sources that are stuck until the signatures have run out.
    mirrors_ageing_urgent,
    /// Times that a mirror came to 25, 50, 75 or 100 % of that time.
    mirror_escalations_total,
    /// Zones transferred whole to secondaries (AXFR).
    transfers_out_axfr_total,
    /// Differences of zones transferred to secondaries (IXFR).
    transfers_out_ixfr_total,
    /// Octets of finished transfers to secondaries.
    transfers_out_bytes_total,
    /// Questions for a transfer that were not granted: the access list, a zone that is not here or not usable, or too many at once.
    transfers_out_refused_total,
    /// Of these: too many at once, in all, for the client's network or for the client.
    transfers_out_crowded_total,
    /// Transfers to secondaries that broke off.
    transfers_out_failed_total,
    /// NOTIFY messages sent to secondaries.
    notify_out_sent_total,
    /// New versions that a secondary has acknowledged.
    notify_out_answered_total,
    /// New versions that a secondary could not be told of.
    notify_out_failed_total,
    /// Zones that are mirrored because a catalog lists them.
    catalog_members,
    /// Zones that a catalog lists and that are not mirrored: the configuration or another catalog has the name, or there are too many.
    catalog_members_ignored,
    /// Versions of catalogs that were broken, so that the members stayed as they were.
    catalogs_broken_total,
    /// Whole zones that sources sent (AXFR).
    mirror_transfers_full_total,
    /// New generations that were made from what changed (IXFR).
    mirror_transfers_ixfr_total,
    /// Whole zones that had to be taken because changes could not be had or made no sense.
    mirror_ixfr_fallbacks_total,
    /// NOTIFY messages that were taken for a mirror.
    notifies_taken_total,
    /// NOTIFY messages for a zone that is no mirror, from a stranger, or malformed.
    notifies_refused_total,
    /// Messages with a transaction signature that was right (TSIG).
    tsig_good_total,
    /// Messages with a transaction signature that was not taken: unknown key, wrong signature, wrong time.
    tsig_bad_total,
    /// Ledger values dropped because they did not check.
    store_dropped_total,
    /// Ledger commits that failed, each followed by an attempt to open it again: a full disk, as a rule.
    store_failures_total,
    /// Keys that are trust anchors and stand in their zone (RFC 5011: Valid), over all zones with anchors.
    trust_anchor_keys_valid,
    /// Announced keys that wait to become trust anchors (RFC 5011: AddPend).
    trust_anchor_keys_pending,
    /// Keys that are trust anchors but that their zone has left out (RFC 5011: Missing).
    trust_anchor_keys_missing,
    /// Keys that were trust anchors and have been revoked in the last 30 days (RFC 5011: Revoked).
    trust_anchor_keys_revoked,
    /// Looks at the keys of a zone with trust anchors that failed.
    trust_anchor_refresh_failures_total,
    /// 1 while the system's clock stands before the floor, and the floor is the time instead.
    clock_floor_in_force,
    /// Times that a verified copy of the root showed an unset clock to be behind, and moved it forward.
    clock_steps_total,
    /// Times that a zone's reachability became Isolated.
    reach_isolated_total,
    /// Prefixes (/24 and /16, /48 and /32) in which several addresses are silent and nothing has answered since.
    reach_prefixes_suspect,
    /// Prefixes that are dead: their addresses are asked after all others, for all zones.
    reach_prefixes_dead,
    /// Times that a prefix became dead.
    reach_prefixes_died_total,
    /// Times that an address of a zone was put behind others because its prefix is dead.
    reach_prefix_avoided_total,
    /// Questions sent to find out whether a prefix is dead, and whether it is back.
    reach_prefix_probes_total,
    /// Entries in the cache.
    cache_entries,
    /// Bytes that the cache accounts for.
    cache_bytes,
    /// Validated denials and wildcards held to make answers from.
    aggressive_entries,
    /// Bytes that they are accounted for.
    aggressive_bytes,
    /// Clients' questions that the cache answered.
    cache_hits_total,
    /// Clients' questions that the cache could not answer.
    cache_misses_total,
    /// Live entries that the cache forgot for want of room.
    cache_evictions_total,
    /// Entries that had run out when the cache replaced them or took their room.
    cache_expired_total,
    /// Popular answers fetched anew before they ran out.
    prefetches_total,
    /// Of these, the ones that failed.
    prefetch_failures_total,
    /// Requests on `control.http`, of every kind.
    http_requests_total,
    /// Of these, the ones that were refused: another path or method, or a name that is not this server's.
    http_refused_total,
    /// Lines of the log that are alerts, while `[alerts]` sends them anywhere.
    alerts_total,
    /// Alerts that gave way to a later one of their kind and subject (`alerts.interval`).
    alerts_limited_total,
    /// Alerts that found no place in a queue.
    alerts_dropped_total,
    /// Alerts that `alerts.webhook` has taken.
    alerts_webhook_sent_total,
    /// Alerts that it did not take, after all tries.
    alerts_webhook_failed_total,
    /// Alerts that `alerts.command` was run for and ended well.
    alerts_command_done_total,
    /// Alerts for which it could not be run, failed, or took too long.
    alerts_command_failed_total,
    /// Alerts of the kind `mirror_state`: a mirrored zone's servers are online, suspect, isolated, recovering.
    alerts_mirror_state_total,
    /// Alerts of the kind `prefix`: it is dead, or answers again.
    alerts_prefix_total,
    /// Alerts of the kind `mirror_age`: 50, 75 or 100 % of its time, or up to date again.
    alerts_mirror_age_total,
    /// Alerts of the kind `mirror_refresh`: it fails, or works again.
    alerts_mirror_refresh_total,
    /// Alerts of the kind `version_held`.
    alerts_version_held_total,
    /// Alerts of the kind `version_refused`.
    alerts_version_refused_total,
    /// Alerts of the kind `protected_name`.
    alerts_protected_name_total,
    /// Alerts of the kind `keys`: a zone's keys changed without notice.
    alerts_keys_total,
    /// Alerts of the kind `trust_anchor`.
    alerts_trust_anchor_total,
    /// Alerts of the kind `certificate`.
    alerts_certificate_total,
    /// Alerts of the kind `drill_started`.
    alerts_drill_started_total,
    /// Alerts of the kind `drill_ended`.
    alerts_drill_ended_total,
    /// Alerts of the kind `drill_aborted`.
    alerts_drill_aborted_total,
    /// Messages that the collector of `[dnstap]` was sent.
    dnstap_frames_total,
    /// Messages for it that were dropped: it was gone, or too slow.
    dnstap_dropped_total,
    /// 1 while the collector takes messages.
    dnstap_connected,
    /// Times that the collector could not be reached, or wanted something else.
    dnstap_failures_total,
    /// Lines of the query log that were written (`log.queries`).
    query_log_lines_total,
    /// Lines that were dropped: too many at once, or the file could not be written.
    query_log_dropped_total,
    /// 1 while a drill or shadow drill goes on.
    drill_running,
    /// Drills and shadow drills that were begun.
    drills_total,
    /// Drills that were given up because too much failed.
    drills_aborted_total,
    /// Questions that were judged for drills and readiness reports.
    questions_judged_total,
    /// The share of queries that would be lost, by the last readiness report.
    readiness_lost_permille,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_show_in_the_snapshot() {
        let m = Metrics::default();
        m.queries_udp_total.inc();
        let row = m.snapshot()[0];
        assert_eq!((row.0, row.2), ("queries_udp_total", 1));
    }
}
