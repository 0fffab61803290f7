//! Nothing is reached: not the host, not its neighbours, not the world.

use crate::probe::Probe;
use crate::weaken::Weakness::{Capabilities, Network, Seccomp, System};

pub(crate) const PROBES: &[Probe] = &[
    Probe::new("a TCP service of the host", r#"must_fail timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$P_PORT"; echo held"#, &[Network]),
    Probe::new("a TCP service of the host by IPv6", r#"must_fail timeout 3 bash -c "exec 3<>/dev/tcp/::1/$P_PORT6"; echo held"#, &[Network]).untold().perhaps(&[Network]),
    Probe::new("a UDP service of the host", r#"
        said=$(python3 -c 'import socket, os
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
s.sendto(b"hello", ("127.0.0.1", int(os.environ["P_UDP"]))); print(s.recv(100).decode())' 2>&1) && leak "$said"; echo held"#, &[Network]),
    Probe::new("a socket of the host without a path", r#"
        must_fail python3 -c 'import socket, os
s = socket.socket(socket.AF_UNIX); s.connect("\0" + os.environ["P_ABSTRACT"]); print(s.recv(100))'; echo held"#, &[Network]),
    Probe::new("a socket file of the host", r#"
        must_fail python3 -c 'import socket, os
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["P_DIR"] + "/socket"); print(s.recv(100))'; echo held"#, &[System]),
    Probe::new("the host's network interfaces", r#"
        names=$(python3 -c 'import socket; print(*[name for _, name in socket.if_nameindex()])'); [ "$names" = lo ] || leak "$names"; echo held"#, &[Network]),
    Probe::new("the host's routes", r#"[ "$(wc -l < /proc/net/route)" -le 1 ] || leak "$(cat /proc/net/route)"; echo held"#, &[]).untold().perhaps(&[Network]),
    Probe::new("the host's connections", r#"
        port=$(printf '%04X' "$P_PORT"); grep -q ":$port " /proc/net/tcp && leak "sees port $P_PORT"; echo held"#, &[Network]),
    Probe::new("an address of the world", r#"
        python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.1", 9)); print(s.getsockname())' 2>/dev/null && leak "has a route"; echo held"#, &[]).untold().perhaps(&[Network]),
    Probe::new("the host's resolver", r#"[ -e /etc/resolv.conf ] && leak "$(cat /etc/resolv.conf)"; must_fail timeout 5 getent hosts example.com; echo held"#, &[]).untold().perhaps(&[Network, System]),
    Probe::new("a raw socket", r#"must_fail python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'; echo held"#, &[]).root().perhaps(&[Capabilities]),
    Probe::new("a packet socket", r#"eperm 41 198 17 3 0; echo held"#, &[]).root().perhaps(&[Capabilities, Seccomp]),
    Probe::new("the kernel's ciphers by socket", r#"eperm 41 198 38 5 0; echo held"#, &[Seccomp]),
    Probe::new("sockets of virtual machines", r#"eperm 41 198 40 1 0; echo held"#, &[Seccomp]),
    Probe::new("Bluetooth sockets", r#"eperm 41 198 31 3 0; echo held"#, &[Seccomp]),
];
