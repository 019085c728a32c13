//! The guides and the man pages say what is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::programs::Programs;
use crate::{scratch, text, there};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The document's tables speak of functions that there are.
#[test]
fn the_guides_name_what_the_header_has() {
    let known = read("include/pktring.h") + &read("include/pktring/inline.h");
    for guide in ["docs/from-packet-mmap.md", "docs/from-libpcap.md"] {
        let guide = read(guide);
        let names = guide
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("pktring_") || word.starts_with("PKTRING_"))
            .filter(|word| !word.ends_with('_'));
        for name in names {
            assert!(known.contains(name), "{name}");
        }
    }
}

/// The tools are kept with make install, each with a page that has every option of its help.
#[test]
fn tools_are_installed_with_their_pages() {
    let programs = Programs::sanitized();
    let prefix = scratch("tools");
    programs.install(&prefix);
    for tool in ["capture", "replay", "generate", "bridge"] {
        let program = prefix.join(format!("bin/pktring-{tool}"));
        let help = text(&Command::new(program).arg("--help").output().unwrap().stdout);
        let page = prefix.join(format!("share/man/man1/pktring-{tool}.1"));
        let page = fs::read_to_string(page).unwrap();
        let words = help.split([' ', ',', '\n', '[', ']']);
        let mut options: Vec<_> = words.filter_map(|word| word.strip_prefix("--")).collect();
        options.retain(|option| !option.is_empty());
        assert!(options.len() > 4, "{help}");
        for option in options {
            assert!(
                page.contains(&format!("Fl Fl {option}")),
                "{tool}: {option}"
            );
        }
    }
}

#[test]
fn man_pages_are_well_formed() {
    if !there("mandoc") {
        return;
    }
    let lint = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(
            ["capture", "replay", "generate", "bridge"]
                .map(|tool| root().join("man").join(format!("pktring-{tool}.1"))),
        )
        .output()
        .unwrap();
    assert!(lint.status.success(), "{}", text(&lint.stdout));
}

/// What the kernel document has, in its order, under the headings of the guide.
const DOCUMENT: &[(&str, &[&str])] = &[
    (
        "## How to use mmap() directly to improve capture process",
        &[
            "socket(PF_PACKET, mode, htons(ETH_P_ALL))",
            "SOCK_RAW",
            "SOCK_DGRAM",
            "PACKET_RX_RING",
            "mmap()",
            "poll()",
            "close()",
            "One socket for capture and transmission",
        ],
    ),
    (
        "## How to use mmap() directly to improve transmission process",
        &[
            "PACKET_TX_RING",
            "mmap()",
            "poll()",
            "send()",
            "MSG_DONTWAIT",
            "close()",
            "socket(PF_PACKET, mode, 0)",
            "packet_rcv()",
            "struct tpacket_hdr",
            "struct ifreq",
            "SIOCGIFINDEX",
            "bind()",
            "struct sockaddr_ll",
            "sll_family",
            "sll_protocol",
            "sll_ifindex",
            "TPACKET_HDRLEN",
            "tp_net",
            "tp_mac",
            "PACKET_TX_HAS_OFF",
        ],
    ),
    (
        "## PACKET_MMAP settings\n",
        &[
            "PACKET_RX_RING",
            "PACKET_TX_RING",
            "struct tpacket_req",
            "tp_block_size",
            "tp_block_nr",
            "tp_frame_size",
            "tp_frame_nr",
        ],
    ),
    (
        "## PACKET_MMAP setting constraints, buffer size calculator, other constraints",
        &[
            "__get_free_pages()",
            "MAX_ORDER",
            "getpagesize()",
            "kmalloc",
            "/proc/slabinfo",
            "<block number> * <block size>",
            "struct tpacket_hdr",
            "TPACKET_ALIGNMENT",
            "struct sockaddr_ll",
            "tp_net",
            "tp_mac",
            "packet_set_ring",
            "TPACKET_HDRLEN",
        ],
    ),
    (
        "## Mapping and use of the circular buffer",
        &[
            "PROT_READ",
            "MAP_SHARED",
            "the gap between the frames",
            "mmap(0, size * 2, …)",
            "RX must be the first",
            "tp_status",
        ],
    ),
    (
        "### Capture process",
        &[
            "TP_STATUS_COPY",
            "recvfrom()",
            "PACKET_COPY_THRESH",
            "SO_RCVBUF",
            "TP_STATUS_LOSING",
            "PACKET_STATISTICS",
            "TP_STATUS_CSUMNOTREADY",
            "TP_STATUS_CSUM_VALID",
            "TP_STATUS_KERNEL",
            "TP_STATUS_USER",
            "struct pollfd",
            "POLLIN",
            "POLLRDNORM",
            "POLLERR",
        ],
    ),
    (
        "### Transmission process",
        &[
            "TP_STATUS_AVAILABLE",
            "tp_len",
            "TP_STATUS_SEND_REQUEST",
            "TP_STATUS_SENDING",
            "TP_STATUS_WRONG_FORMAT",
            "send(fd, NULL, 0, 0)",
            "POLLOUT",
        ],
    ),
    (
        "## What TPACKET versions are available and when to use them?",
        &[
            "setsockopt(PACKET_VERSION)",
            "getsockopt(PACKET_VERSION)",
            "TPACKET_V1",
            "TPACKET_V2",
            "TPACKET_V3",
            "TP_STATUS_VLAN_VALID",
            "tp_vlan_tci",
            "TP_STATUS_VLAN_TPID_VALID",
            "tp_vlan_tpid",
            "How to switch to TPACKET_V2",
            "struct tpacket2_hdr",
            "TPACKET_ALIGN(hdrlen)",
            "Added poll timeout",
            "block::timeout",
            "tpkt_hdr::sk_rxhash",
            "struct tpacket3_hdr",
            "TPACKET3_HDRLEN",
            "TPACKET2_HDRLEN",
            "tp_next_offset",
        ],
    ),
    (
        "## AF_PACKET fanout mode",
        &[
            "PACKET_FANOUT_HASH",
            "PACKET_FANOUT_LB",
            "PACKET_FANOUT_CPU",
            "PACKET_FANOUT_RND",
            "PACKET_FANOUT_ROLLOVER",
            "PACKET_FANOUT_QM",
            "setup_socket",
            "htons(ETH_P_IP)",
            "SIOCGIFINDEX",
            "bind()",
            "setsockopt(PACKET_FANOUT)",
            "read()",
            "fork()",
        ],
    ),
    (
        "## AF_PACKET TPACKET_V3 example",
        &[
            "struct block_desc",
            "struct tpacket_hdr_v1",
            "struct ring",
            "struct tpacket_req3",
            "sighandler",
            "tp_retire_blk_tov",
            "tp_feature_req_word",
            "TP_FT_REQ_FILL_RXHASH",
            "MAP_LOCKED",
            "if_nametoindex()",
            "sll_hatype",
            "sll_pkttype",
            "sll_halen",
            "display",
            "tp_rxhash",
            "walk_block",
            "num_pkts",
            "offset_to_first_pkt",
            "tp_next_offset",
            "flush_block",
            "teardown_socket",
            "munmap()",
            "block_status",
            "PACKET_STATISTICS",
            "struct tpacket_stats_v3",
            "tp_packets",
            "tp_drops",
            "tp_freeze_q_cnt",
            "offset_to_priv",
        ],
    ),
    ("## PACKET_QDISC_BYPASS", &["pktring_set_qdisc_bypass"]),
    (
        "## PACKET_TIMESTAMP",
        &[
            "SIOCSHWTSTAMP",
            "setsockopt(PACKET_TIMESTAMP)",
            "SO_TIMESTAMPING",
            "SOF_TIMESTAMPING_RAW_HARDWARE",
            "tp_sec",
            "tp_nsec",
            "TP_STATUS_TS_RAW_HARDWARE",
            "TP_STATUS_TS_SOFTWARE",
            "sendto()",
            "TP_STATUS_AVAILABLE",
        ],
    ),
    ("## Miscellaneous bits", &["Socket filters"]),
];

#[test]
fn the_guide_has_all_of_the_kernel_document_in_its_order() {
    let guide = read("docs/from-packet-mmap.md");
    let mut rest = &guide[..];
    for (heading, names) in DOCUMENT {
        let found = rest.find(heading);
        let start = found.unwrap_or_else(|| panic!("{heading} is missing, or elsewhere"));
        rest = &rest[start + heading.len()..];
        let section = rest.split("\n#").next().unwrap();
        let mut after = section;
        for name in *names {
            let found = after.find(name);
            let at = found.unwrap_or_else(|| panic!("{heading}: {name} is missing, or elsewhere"));
            after = &after[at + name.len()..];
        }
    }
}

/// The functions of libpcap that open, set up and use a live capture.
const LIBPCAP: &str = "init create activate close open_live set_snaplen snapshot set_promisc \
    set_rfmon can_set_rfmon set_timeout set_immediate_mode set_buffer_size set_tstamp_type \
    list_tstamp_types free_tstamp_types tstamp_type_name_to_val tstamp_type_val_to_name \
    tstamp_type_val_to_description set_tstamp_precision get_tstamp_precision set_protocol_linux \
    setdirection loop dispatch next next_ex breakloop setnonblock getnonblock fileno \
    get_selectable_fd get_required_select_timeout compile setfilter freecode offline_filter \
    inject sendpacket stats datalink list_datalinks free_datalinks set_datalink \
    datalink_val_to_name datalink_val_to_description datalink_name_to_val geterr perror \
    statustostr strerror lib_version findalldevs freealldevs lookupdev lookupnet bufsize \
    open_dead open_offline dump_open dump";

#[test]
fn the_guide_has_every_live_function_of_libpcap() {
    let guide = read("docs/from-libpcap.md");
    let header = fs::read_to_string("/usr/include/pcap/pcap.h").unwrap_or_default();
    for name in LIBPCAP.split_whitespace() {
        let row = format!("`pcap_{name}`");
        let rows = guide.lines().filter(|line| line.starts_with('|'));
        let found = rows.into_iter().any(|line| {
            let column = line.split('|').nth(1).unwrap();
            column.contains(&row) || column.contains(&format!("`pcap_{name}("))
        });
        assert!(found, "pcap_{name} has no counterpart in the guide");
        if !header.is_empty() && name != "set_protocol_linux" {
            assert!(header.contains(&format!("pcap_{name}(")), "pcap_{name}");
        }
    }
}

/// The lines that the guide sets side by side are those of the two programs.
#[test]
fn the_guide_shows_the_two_programs() {
    let guide = read("docs/from-libpcap.md");
    let (original, port) = (
        read("c-examples/port-libpcap.c"),
        read("c-examples/port-pktring.c"),
    );
    for program in [&original, &port] {
        assert!(
            guide.contains(program.split_once("#include").unwrap().1),
            "not whole"
        );
    }
}

/// Each of the document's samples is short enough to read beside it.
#[test]
fn samples_are_short() {
    let examples = root().join("c-examples");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("doc-") || name.starts_with("port-") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 100, "{name}: {lines} lines");
        }
    }
}
