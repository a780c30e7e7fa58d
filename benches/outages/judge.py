"""What became of the questions of an event: shares, latencies, packets, first failure, recovery, newness; and the tables.

A question is *attainable* while a server of the name's own zone can be reached: mirrors know the root and `home.`, and every other delegation was
seen while the caches were warmed, so nothing but forgetting stands between the resolver and the answer. Of the others stale data is the best that can be had.
*Right* is the name's own address in whatever version, or NXDOMAIN for a name that does not exist.
What was asked while nobody listened, between the end of one process and the beginning of the next, is *unheard*: counted, and told, but judged
neither as attainable nor as the rest, for no resolver can answer what its kernel has refused.
"""

import bisect
import collections

from load import EMPTY, FLAG_STALE, OTHER, RECORD, RIGHT, SERVFAIL, TIMEOUT, WRONG
from world import KINDS, VERSIONS, Reach

# Newness is looked at so long after the return, within so many seconds of it.
NEW_AT_S = ((2, 0.5), (10, 1.0), (40, 2.5))
# From this second of an event on, packets for the names of the vanished operator are counted.
SETTLED_S = 5
FAILURES = {"servfail": SERVFAIL, "empty": EMPTY, "wrong": WRONG, "timeout": TIMEOUT, "other": OTHER}

Row = collections.namedtuple("Row", "at name outcome detail flags ms late")


class Restart:
    """When a resolver was told to end, had ended, when nobody listened any more, and when somebody did again; seconds of the event."""

    def __init__(self, told):
        self.told, self.ended, self.closed, self.opened = told, None, None, None

    def is_deaf(self, at):
        """Whether nobody listened then."""
        return self.closed is not None and self.closed <= at and (self.opened is None or at < self.opened)


class Judge:
    """Judges the resolvers of one event; `asked` is (second, name), `samples` (second, {peer: {what: packets}})."""

    def __init__(self, world, event, timeline, asked, samples):
        self.event, self.timeline, self.asked, self.samples = event, timeline, asked, samples
        self.names = world.names
        self.attainable = {}
        for phase in event.phases:
            reach = Reach(phase.dead)
            self.attainable[phase.name] = {zone.name: reach.alive(zone.addresses) for zone in world.zones if zone.kind in KINDS}

    def judge(self, peer, file, restart):
        """Everything about one resolver: {windows: [...], recovery...}. `restart`: its `Restart`, if there was one."""
        data = file.read_bytes()
        rows = [Row(us / 1e6, self.names[number], *rest, latency / 1e3, late) for us, number, *rest, latency, late in RECORD.iter_unpack(data)]
        found = {"windows": [], "questions": len(rows), "missing": len(self.asked) - len(rows), "late_ms_p99": percentile([row.late / 1e3 for row in rows], 99)}
        unheard = [row.at for row in rows if restart and restart.is_deaf(row.at)]
        rows = [row for row in rows if not (restart and restart.is_deaf(row.at))]
        times = [row.at for row in rows]
        part = lambda begin, until: rows[bisect.bisect_left(times, begin):bisect.bisect_left(times, until)]
        for phase, begin, until in self.timeline:
            pace = (until - begin) / phase.seconds
            bounds = [begin, until]
            if phase.split:
                bounds.insert(1, begin + phase.split * pace)
            for a, b in zip(bounds, bounds[1:]):
                label = phase.name if len(bounds) == 2 else f"{phase.name} {a - begin:.0f}-{b - begin:.0f} s"
                deaf = sum(a <= at < b for at in unheard)
                found["windows"].append({"label": label, "unheard": deaf} | self._window(peer, phase, part(a, b), a, b))
            if phase.name == "back":
                found |= self._back(part(begin, until), begin)
            elif phase.name != "warm":
                failed = [row for row in part(begin, until) if row.outcome != RIGHT and self._can(phase, row)]
                found.setdefault("first_failure_s", {})[phase.name] = round(failed[0].at - begin, 2) if failed else None
            if phase.restart and restart:
                right = [row.at + row.ms / 1e3 for row in part(restart.ended, until) if row.outcome == RIGHT]
                deaf_s = round(restart.opened - restart.closed, 3) if restart.closed and restart.opened else None
                found |= {"end_s": round(restart.ended - restart.told, 2), "dark_s": round(min(right) - restart.told, 2) if right else None, "deaf_s": deaf_s}
        return found

    def _can(self, phase, row):
        return self.attainable[phase.name][row.name.zone.name]

    def _window(self, peer, phase, rows, begin, until):
        can = [row for row in rows if self._can(phase, row)]
        cannot = [row for row in rows if not self._can(phase, row)]
        sent = {what: self._packets(peer, what, until) - self._packets(peer, what, begin) for what in ("all", "abroad", "operator")}
        of_operator = sum(row.name.zone.kind == "operator" for row in rows)
        return {
            "attainable": outcomes(can), "unattainable": outcomes(cannot), "all": outcomes(rows),
            "kinds": {kind: outcomes([row for row in rows if row.name.zone.kind == kind]) for kind in KINDS},
            "packets_per_question": ratio(sent["all"], len(rows)), "abroad_packets_s": ratio(sent["abroad"], until - begin),
            "operator_packets_per_question": ratio(sent["operator"], of_operator), "operator_packets_s": ratio(sent["operator"], until - begin),
        }

    def _packets(self, peer, what, at):
        """Packets counted until a second, from the samples around it."""
        times = [second for second, _ in self.samples]
        n = min(max(bisect.bisect_left(times, at), 1), len(times) - 1)
        (t1, before), (t2, after) = self.samples[n - 1], self.samples[n]
        share = min(1.0, max(0.0, (at - t1) / (t2 - t1)))
        return before[peer][what] + share * (after[peer][what] - before[peer][what])

    def _back(self, rows, begin):
        """How soon all is well: the last failure, and the share of new data among names that could not be had before."""
        failed = [row.at - begin for row in rows if row.outcome != RIGHT]
        before = self.event.phases[-2]
        lost = [row for row in rows if not self._can(before, row) and row.name.exists] if any(phase.publish for phase in self.event.phases) else []
        new = {}
        for at, width in NEW_AT_S:
            near = [row for row in lost if abs(row.at - begin - at) <= width]
            new[at] = ratio(sum(row.outcome == RIGHT and row.detail == VERSIONS[1] for row in near), len(near)) if near else None
        return {"recovered_s": round(max(failed), 2) if failed else 0.0, "failed_after_return": len(failed), "new_data": new}


def outcomes(rows):
    """Counts, shares and latencies (ms) of some questions."""
    count = collections.Counter(row.outcome for row in rows)
    ms = [row.ms for row in rows]
    found = {"questions": len(rows), "right": ratio(count[RIGHT], len(rows)), "p50": percentile(ms, 50), "p99": percentile(ms, 99), "p999": percentile(ms, 99.9), "max": max(ms, default=None)}
    found |= {name: count[outcome] for name, outcome in FAILURES.items()}
    found["stale"] = sum(row.outcome == RIGHT and bool(row.flags & FLAG_STALE) for row in rows)
    return found


def percentile(values, percent):
    """The value below which that many lie; None of nothing."""
    if not values:
        return None
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def ratio(a, b):
    """a / b; None of nothing."""
    return a / b if b else None


def share(value, digits=2):
    """A share in percent; never rounded up to 100."""
    return "-" if value is None else "100" if value == 1 else f"{min(value * 100, 100 - 10 ** -digits):.{digits}f}"


def number(value, digits=0):
    """A number that may be missing."""
    return "-" if value is None else f"{value:.{digits}f}"


def tables(found):
    """The Markdown of one event."""
    lines = [f"### {found['title']}", "",
             "| phase | resolver | right of attainable % | SERVFAIL / empty / wrong / timeout | p50 ms | p99 | max | right of the rest (stale) % | SERVFAIL / empty / wrong / timeout | p50 ms | p99 | packets per question | to the operator |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    peers = found["peers"]
    for n, window in enumerate(next(iter(peers.values()))["windows"]):
        for peer, judged in peers.items():
            window = judged["windows"][n]
            can, cannot = window["attainable"], window["unattainable"]
            lines.append(f"| {window['label']} | {peer} | {share(can['right'])} | {failures(can)} | {number(can['p50'], 1)} | {number(can['p99'])} | {number(can['max'])} | "
                         f"{share(cannot['right'])} | {failures(cannot)} | {number(cannot['p50'], 1)} | {number(cannot['p99'])} | {number(window['packets_per_question'], 2)} | "
                         f"{number(window['operator_packets_per_question'], 3)} |")
    lines += ["", "| resolver | first failure of attainable, s | restart: time to end, to the first right answer, without a listener, s; asked then | last failure after return, s | failed after return | new data at +2 / +10 / +40 s % | of a core | client late p99 ms |",
              "|---|---|---|---|---|---|---|---|"]
    for peer, judged in peers.items():
        first = ", ".join(f"{name} {'never' if at is None else at}" for name, at in judged.get("first_failure_s", {}).items())
        new = " / ".join(share(value) for value in judged["new_data"].values())
        lines.append(f"| {peer} | {first} | {judged.get('end_s', '-')}, {judged.get('dark_s', '-')}, {judged.get('deaf_s', '-')}; {sum(w['unheard'] for w in judged['windows'])} | {judged['recovered_s']} | {judged['failed_after_return']} | {new} | "
                     f"{found['cpu_share'][peer]:.0%} | {number(judged['late_ms_p99'], 1)} |")
    lines += ["", "Right of all questions by kind of zone, %:", "", f"| phase | resolver | {' | '.join(KINDS)} |", f"|---|---|{'---|' * len(KINDS)}"]
    for n, window in enumerate(next(iter(peers.values()))["windows"]):
        if window["label"] not in ("warm", "calm"):
            for peer, judged in peers.items():
                window = judged["windows"][n]
                lines.append(f"| {window['label']} | {peer} | {' | '.join(share(window['kinds'][kind]['right']) for kind in KINDS)} |")
    lines += [f"\n{peer}: {remark}" for peer, remark in found["remarks"].items()]
    return "\n".join(lines)


def summary(result):
    """One table over all events: a line for each phase, a cell for each resolver."""
    peers = list(result["versions"])
    lines = ["| event | phase | " + " | ".join(peers) + " |", "|---|---|" + "---|" * len(peers)]
    for event in result["events"]:
        judged = event["peers"]
        for n, window in enumerate(judged[peers[0]]["windows"]):
            if window["label"] == "warm":
                continue
            cells = [cell(judged[peer]["windows"][n]) for peer in peers]
            lines.append(f"| {event['name']} | {window['label']} | {' | '.join(cells)} |")
        if any(of["failed_after_return"] for of in judged.values()):
            cells = [f"{judged[peer]['recovered_s']} s" for peer in peers]
            lines.append(f"| {event['name']} | last failure after the return | {' | '.join(cells)} |")
        if any(value is not None for value in judged[peers[0]]["new_data"].values()):
            cells = [" / ".join(share(value, 0) for value in judged[peer]["new_data"].values()) for peer in peers]
            lines.append(f"| {event['name']} | new data at +2 / +10 / +40 s, % | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(window):
    """Right of the attainable in percent and their p99; then what was right of the rest, what was asked while nobody listened, and how many answers were
    wrong or empty."""
    can, cannot = window["attainable"], window["unattainable"]
    parts = [f"{share(can['right'])} % {number(can['p99'])} ms"] if can["questions"] else []
    parts += [f"rest {share(cannot['right'], 0)} %"] if cannot["questions"] else []
    parts += [f"{window['unheard']} unheard"] if window["unheard"] else []
    untrue = sum(of["wrong"] + of["empty"] for of in (can, cannot))
    return "; ".join(parts + ([f"**{untrue} untrue**"] if untrue else []))


def failures(of):
    """The four ways to fail, counted."""
    return f"{of['servfail'] + of['other']} / {of['empty']} / {of['wrong']} / {of['timeout']}" if of["questions"] else "-"
