"""What every laboratory of the benches does alike: programs in a network namespace, NSD in front of generated zones, waiting, ending.

A namespace is named after the process that made it, so that two runs never meet. Each program logs to a file of its own name; what is still
running is ended when the laboratory stops. Nothing here sends a packet outside a namespace.
"""

import json
import os
import pathlib
import resource
import signal
import subprocess
import time

READY_MAX_S = 60
ROOT_DIR = pathlib.Path(__file__).resolve().parents[2]


def cargo(*wanted):
    """Builds in release form; name and path of each program made."""
    done = subprocess.run(["cargo", "build", "--release", *wanted, "--message-format", "json"], cwd=ROOT_DIR, stdout=subprocess.PIPE, check=True, text=True)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in made if m["reason"] == "compiler-artifact" and m["executable"]}


def put_first():
    """Before all other work of the machine, in a group of its own, so that such work hits no peer by chance. True where that is possible."""
    os.setsid()
    # A peer that does not raise its own limit of open files would lose questions.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        os.nice(-15)
        # Where the scheduler groups by sessions, niceness counts within the session alone.
        group = pathlib.Path("/proc/self/autogroup")
        if group.exists():
            group.write_text("-15")
    except OSError:
        return False
    return True


def processor():
    """The model of the machine's processor."""
    return next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")


def versions(peers, holdfast):
    """The first line that each peer says of its version."""
    commands = {"holdfast": [holdfast, "--version"], "unbound": ["unbound", "-V"], "kresd": ["kresd", "-V"], "pdns": ["pdns_recursor", "--version"], "bind": ["named", "-v"],
                "nsd": ["nsd", "-v"], "knot": ["knotd", "--version"], "dnsdist": ["dnsdist", "--version"]}
    found = {}
    for peer in peers:
        done = subprocess.run(commands[peer], capture_output=True, text=True, check=False)
        found[peer] = (done.stdout + done.stderr).splitlines()[0].split("Recursor ")[-1]
    return found


def self_signed(directory):
    """A key and a certificate of its own for TLS listeners: their files."""
    key, cert = pathlib.Path(directory) / "server.key", pathlib.Path(directory) / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=dns.example",
                    "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key, cert


class Programs:
    """Programs that run in namespaces, each with its log in one directory."""

    def __init__(self, directory):
        self.dir = directory
        self.running = []

    def run(self, space, name, command, *, core=None, pipes=False):
        """Starts it. With `pipes` its input and output are ours, otherwise the log has the output."""
        log = open(self.dir / f"{name}.log", "ab")  # noqa: SIM115 - the child has it
        on_core = ["taskset", "-c", str(core)] if core is not None else []
        process = subprocess.Popen(["ip", "netns", "exec", space, *on_core, *command], cwd=self.dir, stderr=log, stdout=subprocess.PIPE if pipes else log,
                                   stdin=subprocess.PIPE if pipes else subprocess.DEVNULL, text=True if pipes else None)
        self.running.append(process)
        return process

    def wait(self, space, server, process=None, max_s=READY_MAX_S):
        """Until something answers at port 53, whatever it says; nothing is resolved for that."""
        deadline = time.monotonic() + max_s
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{server} has ended; logs in {self.dir} with --keep")
            done = subprocess.run(["ip", "netns", "exec", space, "dig", f"@{server}", "+tries=1", "+time=1", "+norec", "id.server.", "CH", "TXT"],
                                  capture_output=True, text=True, check=False)
            if "status:" in done.stdout:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{server} does not answer; logs in {self.dir} with --keep")

    def stop(self):
        """Ends all that still run."""
        for process in self.running:
            end(process)
        self.running.clear()


def end(process, max_s=5):
    """Ends a process that this run started; by force where it needs longer."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(max_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def busy_s(process):
    """Seconds of processor time of a process and of what it waited for."""
    words = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def core_busy_s(core):
    """Seconds that a core has done anything: programs of whoever, the kernel, another guest of the host."""
    words = next(line for line in open("/proc/stat") if line.startswith(f"cpu{core} ")).split()[1:9]
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, words)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def stolen_s(core):
    """Seconds that the host gave a core to others while it had work."""
    words = next(line for line in open("/proc/stat") if line.startswith(f"cpu{core} ")).split()
    return int(words[8]) / os.sysconf("SC_CLK_TCK")


def tree(process):
    """The numbers of a process and of all below it."""
    found = [process.pid]
    for pid in found:
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            # It has just ended.
            continue
    return found


def times_s(process):
    """Processor time of a process and its children, own and kernel's, in seconds."""
    user = system = 0
    for pid in tree(process):
        try:
            words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user, system = user + int(words[11]), system + int(words[12])
    tick = os.sysconf("SC_CLK_TCK")
    return user / tick, system / tick


def nsd_conf(site, directory, addresses, zones, *, port=53, server="", zone_lines=""):
    """Writes the configuration of one NSD for a site's zones: pairs of name and file. Returns the command."""
    text = "server:\n" + "".join(f"  ip-address: {a}@{port}\n" for a in addresses) + (
        f"  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  zonesdir: \"{directory}\"\n  pidfile: \"\"\n  zonelistfile: \"{directory}/{site}.list\"\n"
        f"  xfrdfile: \"\"\n  xfrdir: \"{directory}\"\n  server-count: 1\n  rrl-ratelimit: 0\n{server}"
        "remote-control:\n  control-enable: no\n")
    text += "".join(f"zone:\n  name: \"{name}\"\n  zonefile: \"{file}\"\n{zone_lines}" for name, file in zones)
    conf = pathlib.Path(directory) / f"{site}.conf"
    conf.write_text(text)
    return ["nsd", "-d", "-c", str(conf)]
