//! Network interfaces of the calling thread's namespace, made and changed through netlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State, Stats64,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::context;
use crate::netlink::request;

/// How long a link may take to come up: the kernel does it at most once a second.
const UP_LIMIT: Duration = Duration::from_secs(5);

/// What an interface has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received frames thrown away by the interface or the stack above it.
    pub rx_dropped: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that were to be sent and were thrown away.
    pub tx_dropped: u64,
}

/// Makes a pair of Ethernet interfaces joined by a virtual wire, brings both up and waits
/// until frames pass.
pub fn veth(a: &str, b: &str) -> io::Result<()> {
    add_veth(a, b)?;
    set_up(a)?;
    set_up(b)?;
    wait_up(a)?;
    wait_up(b)
}

/// Makes a veth pair and leaves both ends down.
pub fn add_veth(a: &str, b: &str) -> io::Result<()> {
    let data = InfoData::Veth(InfoVeth::Peer(named(b)));
    add(named(a), InfoKind::Veth, Some(data)).map_err(context(format_args!("veth {a} {b}")))
}

/// Makes an interface that shares `parent`, with an address of its own, and brings it up. Of
/// multicast frames it lets in those alone that it was asked for.
pub fn macvlan(parent: &str, name: &str) -> io::Result<()> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Link(index(parent)?));
    add(message, InfoKind::MacVlan, None).map_err(context(format_args!("macvlan {name}")))?;
    set_up(name)?;
    wait_up(name)
}

/// Brings an interface up. It may take until [`wait_up`] returns before frames pass.
pub fn set_up(name: &str) -> io::Result<()> {
    set_flags(name, LinkFlags::Up).map_err(context(format_args!("set {name} up")))
}

/// Takes an interface down.
pub fn set_down(name: &str) -> io::Result<()> {
    set_flags(name, LinkFlags::empty()).map_err(context(format_args!("set {name} down")))
}

/// Waits until frames pass: the link is up and has the queue it will keep.
pub fn wait_up(name: &str) -> io::Result<()> {
    let deadline = Instant::now() + UP_LIMIT;
    while !is_up(name)? {
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{name} did not come up in {UP_LIMIT:?}"),
            ));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether frames pass. A link that has just come up swallows them until the kernel has
/// replaced the queue named "noop".
pub fn is_up(name: &str) -> io::Result<bool> {
    let link = get(name)?;
    let up = link.header.flags.contains(LinkFlags::Up);
    Ok(up
        && link.attributes.iter().all(|attribute| match attribute {
            LinkAttribute::OperState(state) => matches!(state, State::Up | State::Unknown),
            LinkAttribute::Qdisc(queue) => queue != "noop",
            _ => true,
        }))
}

/// Sets the largest payload, without the Ethernet header.
pub fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    set(name, LinkAttribute::Mtu(mtu)).map_err(context(format_args!("mtu {mtu} on {name}")))
}

/// Lets hosts join more than 64 KiB of TCP over IPv4 for the interface to cut ("BIG TCP").
/// Whether the kernel can: Linux 6.3.
pub fn allow_big_tcp(name: &str, bytes: u32) -> io::Result<bool> {
    let sizes = [
        LinkAttribute::GsoMaxSize(bytes),
        LinkAttribute::GsoIpv4MaxSize(bytes),
    ];
    for size in sizes {
        set(name, size).map_err(context(format_args!("{bytes} bytes on {name}")))?;
    }
    Ok(get(name)?
        .attributes
        .contains(&LinkAttribute::GsoIpv4MaxSize(bytes)))
}

/// Sets the hardware address.
pub fn set_mac(name: &str, mac: [u8; 6]) -> io::Result<()> {
    let attribute = LinkAttribute::Address(mac.to_vec());
    set(name, attribute).map_err(context(format_args!("hardware address of {name}")))
}

/// Gives an interface another name; it must be down on older kernels.
pub fn rename(name: &str, new: &str) -> io::Result<()> {
    let attribute = LinkAttribute::IfName(new.to_owned());
    set(name, attribute).map_err(context(format_args!("rename {name} to {new}")))
}

/// Moves an interface into another network namespace. It arrives there down.
pub fn move_to(name: &str, namespace: &impl AsFd) -> io::Result<()> {
    let attribute = LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd());
    set(name, attribute).map_err(context(format_args!("move {name}")))
}

/// Removes an interface, and with one end of a veth pair the other.
pub fn delete(name: &str) -> io::Result<()> {
    let deleted = request(RouteNetlinkMessage::DelLink(existing(name)?), 0);
    deleted
        .map(drop)
        .map_err(context(format_args!("delete {name}")))
}

/// Adds an address with the length of its network prefix.
pub fn add_address(name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index(name)?;
    message.header.prefix_len = prefix;
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let added = request(RouteNetlinkMessage::NewAddress(message), flags);
    added.map(drop).map_err(context(format_args!(
        "address {address}/{prefix} on {name}"
    )))
}

/// The kernel's number for an interface.
pub fn index(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(|error| context(name)(error.into()))
}

/// The hardware address.
pub fn mac(name: &str) -> io::Result<[u8; 6]> {
    find(name, "Ethernet address", |attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

/// The largest payload.
pub fn mtu(name: &str) -> io::Result<u32> {
    find(name, "MTU", |attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

/// How many ask for every frame on the wire.
pub fn promiscuity(name: &str) -> io::Result<u32> {
    find(name, "promiscuity", |attribute| match attribute {
        LinkAttribute::Promiscuity(count) => Some(*count),
        _ => None,
    })
}

/// The multicast hardware addresses that are asked for, as hexadecimal digits.
pub fn multicast_addresses(name: &str) -> io::Result<Vec<String>> {
    // Fields: index, name, users, global users, address.
    let table = std::fs::read_to_string("/proc/thread-self/net/dev_mcast")?;
    let rows = table.lines().map(|row| row.split_whitespace().collect());
    Ok(rows
        .filter(|row: &Vec<&str>| row.get(1) == Some(&name))
        .filter_map(|row| row.get(4).map(|address| address.to_string()))
        .collect())
}

/// What the interface itself counted, independent of any socket.
pub fn counters(name: &str) -> io::Result<Counters> {
    find(name, "counters", |attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(Counters::from(stats)),
        _ => None,
    })
}

impl From<&Stats64> for Counters {
    fn from(stats: &Stats64) -> Counters {
        Counters {
            rx_packets: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            rx_dropped: stats.rx_dropped,
            tx_packets: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            tx_dropped: stats.tx_dropped,
        }
    }
}

/// A message about a link that goes by this name.
fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// A message about a link that exists already.
fn existing(name: &str) -> io::Result<LinkMessage> {
    let mut message = LinkMessage::default();
    message.header.index = index(name)?;
    Ok(message)
}

fn add(mut message: LinkMessage, kind: InfoKind, data: Option<InfoData>) -> io::Result<()> {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    message.attributes.push(LinkAttribute::LinkInfo(info));
    request(
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )
    .map(drop)
}

fn set(name: &str, attribute: LinkAttribute) -> io::Result<()> {
    let mut message = existing(name)?;
    message.attributes.push(attribute);
    request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
}

fn set_flags(name: &str, flags: LinkFlags) -> io::Result<()> {
    let mut message = existing(name)?;
    message.header.flags = flags;
    message.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
}

fn get(name: &str) -> io::Result<LinkMessage> {
    let answers = request(RouteNetlinkMessage::GetLink(existing(name)?), 0)?;
    let link = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    link.ok_or_else(|| io::Error::other(format!("the kernel says nothing about {name}")))
}

/// Picks one attribute of a link.
fn find<T>(name: &str, what: &str, pick: impl Fn(&LinkAttribute) -> Option<T>) -> io::Result<T> {
    let found = get(name)?.attributes.iter().find_map(pick);
    found.ok_or_else(|| io::Error::other(format!("{name} has no {what}")))
}
