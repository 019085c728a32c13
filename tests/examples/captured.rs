//! What is in a capture file, read by a library that is not the writer's.

use std::fs;
use std::path::Path;

use pcap_parser::pcapng::{Block, InterfaceStatisticsBlock, OptionCode, PcapNGOption};
use pcap_parser::{parse_pcap, parse_pcapng};

/// A packet as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    pub time_ns: u64,
    pub interface: u32,
    pub len: u32,
    pub data: Vec<u8>,
    /// PACKET_OUTGOING, of files that tell.
    pub outgoing: bool,
}

#[derive(Debug, Default)]
pub struct Interface {
    pub name: String,
    pub linktype: i32,
    pub statistics: Option<Statistics>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    pub received: u64,
    pub dropped: u64,
    pub delivered: u64,
}

#[derive(Debug, Default)]
pub struct Captured {
    pub interfaces: Vec<Interface>,
    pub packets: Vec<Packet>,
}

impl Captured {
    /// Of a pcapng file with nanoseconds, or of a pcap file with nanoseconds, as tcpdump writes it.
    pub fn read(file: &Path) -> Captured {
        let bytes = fs::read(file).unwrap();
        match bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            true => pcapng(&bytes),
            false => pcap(&bytes),
        }
    }
}

fn pcap(bytes: &[u8]) -> Captured {
    let (rest, file) = parse_pcap(bytes).unwrap();
    assert!(rest.is_empty());
    assert!(file.header.is_nanosecond_precision());
    let packet = |block: &pcap_parser::LegacyPcapBlock| Packet {
        time_ns: u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec),
        interface: 0,
        len: block.origlen,
        data: block.data[..block.caplen as usize].to_vec(),
        outgoing: false,
    };
    Captured {
        interfaces: vec![Interface {
            linktype: file.header.network.0,
            ..Interface::default()
        }],
        packets: file.blocks.iter().map(packet).collect(),
    }
}

fn pcapng(bytes: &[u8]) -> Captured {
    let (rest, file) = parse_pcapng(bytes).unwrap();
    assert!(rest.is_empty());
    let mut captured = Captured::default();
    for block in file.sections.iter().flat_map(|section| &section.blocks) {
        match block {
            Block::SectionHeader(_) => {}
            Block::InterfaceDescription(block) => {
                assert_eq!(block.if_tsresol, 9, "nanoseconds");
                captured.interfaces.push(Interface {
                    name: crate::text(option(&block.options, 2)),
                    linktype: block.linktype.0,
                    statistics: None,
                });
            }
            Block::EnhancedPacket(block) => {
                captured.packets.push(Packet {
                    time_ns: u64::from(block.ts_high) << 32 | u64::from(block.ts_low),
                    interface: block.if_id,
                    len: block.origlen,
                    data: block.data[..block.caplen as usize].to_vec(),
                    outgoing: option(&block.options, 2)[0] & 3 == 2,
                });
            }
            Block::InterfaceStatistics(block) => {
                let to = &mut captured.interfaces[block.if_id as usize].statistics;
                assert!(to.is_none(), "twice");
                *to = Some(statistics(block));
            }
            other => panic!("{other:?}"),
        }
    }
    captured
}

/// The value of an option, which must be there.
fn option<'a>(options: &'a [PcapNGOption], code: u16) -> &'a [u8] {
    let mut options = options.iter();
    let found = options.find(|option| option.code == OptionCode(code));
    let found = found.unwrap_or_else(|| panic!("no option {code}"));
    &found.value[..found.len.into()]
}

fn statistics(block: &InterfaceStatisticsBlock) -> Statistics {
    let number = |code| u64::from_ne_bytes(option(&block.options, code).try_into().unwrap());
    Statistics {
        received: number(4),
        dropped: number(5),
        delivered: number(8),
    }
}
