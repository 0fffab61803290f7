#!/usr/bin/python3 -IS
"""Stands in bubblewrap's place, takes one lock off, and becomes bubblewrap.

The word in the file `weakness` beside this script says which lock. Options come from descriptor 3, each ended by NUL.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
REAL = "/usr/bin/bwrap"
# What --unshare-all stands for; the user namespace is asked for by itself.
SPACES = {"Ipc": "--unshare-ipc", "Pids": "--unshare-pid", "Network": "--unshare-net", "Hostname": "--unshare-uts"}
SPACES["CgroupNames"] = "--unshare-cgroup-try"
# Directories of the host that the weakened profile "System" shows.
KEPT = {"usr", "bin", "sbin", "lib", "lib64", "lib32", "libx32", "proc", "dev", "w"}


def words_of(fd):
    text = b""
    while chunk := os.read(fd, 1 << 16):
        text += chunk
    return [word.decode() for word in text.split(b"\0")[:-1]]


def drop(options, *words):
    """Without the first place where these words follow each other."""
    for at in range(len(options)):
        if tuple(options[at : at + len(words)]) == words:
            return options[:at] + options[at + len(words) :]
    raise SystemExit(f"shim: no {words} among the options")


def replace(options, old, new):
    at = next(i for i in range(len(options)) if options[i : i + len(old)] == old)
    return options[:at] + new + options[at + len(old) :]


def pairs_dropped(options, name):
    while name in options:
        at = options.index(name)
        if name.endswith("-fd"):
            # bubblewrap would not know it, and pass it on.
            os.close(int(options[at + 1]))
        options = options[:at] + options[at + 2 :]
    return options


def weakened(weakness, options):
    if weakness in SPACES:
        spaces = [space for name, space in SPACES.items() if name != weakness]
        options = replace(options, ["--unshare-all"], spaces)
    if weakness == "Hostname":
        options = drop(options, "--hostname", "sandbox")
    if weakness == "Pids":
        options = replace(options, ["--proc", "/proc"], ["--ro-bind", "/proc", "/proc"])
    if weakness in ("Seccomp", "Nesting"):
        options = pairs_dropped(options, "--add-seccomp-fd")
    if weakness == "Nesting":
        options = drop(options, "--disable-userns")
    if weakness == "Git":
        at = options.index("/w/.git")
        options[at - 2] = "--bind"
    if weakness == "System":
        shown = sorted(set(os.listdir("/")) - KEPT)
        binds = [word for name in shown if os.path.isdir("/" + name) for word in ("--bind", "/" + name, "/" + name)]
        at = max(i for i, word in enumerate(options) if word == "--remount-ro")
        options = options[:at] + binds + options[at:]
    if weakness == "Environment":
        options = drop(options, "--clearenv")
    if weakness == "Capabilities":
        options = replace(options, ["--cap-drop", "ALL"], ["--cap-add", "ALL"])
    if weakness == "Remount":
        options = drop(options, "--remount-ro", "/")
    if weakness == "RemountDev":
        options = drop(options, "--remount-ro", "/dev")
    if weakness == "Sizes":
        options = pairs_dropped(options, "--size")
    if weakness == "Session":
        options = drop(options, "--new-session")
    if weakness == "UserIds":
        options = replace(options, ["--uid", "65534", "--gid", "65534"], ["--uid", "0", "--gid", "0"])
    if weakness == "Parent":
        options = drop(options, "--die-with-parent")
    return options


def main():
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        os.execv(REAL, [REAL, *arguments])
    with open(HERE + "/weakness") as file:
        weakness = file.read().strip()
    options = weakened(weakness, words_of(3))
    environment = {}
    if weakness == "Environment":
        with open(HERE + "/secret") as file:
            environment["P_SECRET"] = file.read().strip()
    if weakness == "Descriptors":
        os.set_inheritable(os.open(HERE + "/secret", os.O_RDONLY), True)
    if weakness == "CommandLine":
        arguments = [*options, *arguments[2:]]
        os.close(3)
    else:
        changed = os.memfd_create("options", 0)
        os.write(changed, b"".join(word.encode() + b"\0" for word in options))
        os.lseek(changed, 0, os.SEEK_SET)
        os.dup2(changed, 3)
        os.close(changed)
    os.execve(REAL, [REAL, *arguments], environment)


main()
