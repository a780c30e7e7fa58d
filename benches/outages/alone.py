"""What the benches have in common that play to holdfast alone: options, a world of their own, and its end."""

import os
import pathlib
import shutil
import signal
import sys
import tempfile

import run as outages
from lab import cargo, processor, put_first
from world import World


def options(parser, *, zones):
    """Adds the options that each of them has, with so many zones."""
    parser.add_argument("--zones", type=int, default=zones, help="second-level zones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", help="the holdfast under test; otherwise it is built, in release form")
    parser.add_argument("--nice", action="store_true", help="do not go before the machine's other work")
    parser.add_argument("--keep", action="store_true", help="keep zones, configurations, logs and the outcome of each question")


def parsed(parser):
    """The arguments; there is one peer."""
    args = parser.parse_args()
    args.peers = ["holdfast"]
    args.binary = args.binary and str(pathlib.Path(args.binary).resolve())
    return args


def in_a_world(name, args, work, tool=None):
    """Makes the world in a directory of its own, and takes both away when the work there is done: `work(directory, world, binary)`. Returns what that does."""
    if os.geteuid() != 0 or tool and not shutil.which(tool):
        sys.exit(f"the bench needs root{f' and {tool}' if tool else ''}; .ci/setup installs what it needs")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    binary = args.binary or cargo("--bin", "holdfast")["holdfast"]
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"holdfast-{name}-"))
    os.chmod(directory, 0o755)
    # An end from outside takes everything down as any other.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if not args.nice:
            put_first()
        print(f"{os.cpu_count()} cores ({processor()}); load of the machine before: {os.getloadavg()[0]:.1f}")
        world = World(directory, args.seed, args.zones)
        world.build()
        return work(directory / name, world, binary)
    finally:
        if args.keep:
            print(f"kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
