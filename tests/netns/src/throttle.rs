//! A queue in front of an interface that lets frames out slowly: the way to have frames
//! wait in the kernel, or be refused, for as long as a test likes.

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};
use netlink_packet_route::RouteNetlinkMessage;

use crate::netlink::request;
use crate::{context, link};

/// From linux/pkt_sched.h and linux/pkt_cls.h.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// How fast frames leave an interface.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// Bytes a second in the long run.
    pub rate: u32,
    /// Bytes that may leave at once; less than a frame holds such frames for ever.
    pub burst: u32,
    /// Bytes that may wait. A frame beyond that is refused: its sender sees ENOBUFS.
    pub waiting: u32,
}

/// Puts a token bucket (tbf) in front of what `name` sends.
pub fn throttle(name: &str, throttle: Throttle) -> io::Result<()> {
    let mut message = root_queue(name)?;
    message.attributes.push(TcAttribute::Kind("tbf".to_owned()));
    message.attributes.push(TcAttribute::Options(vec![
        option(TCA_TBF_PARMS, parameters(throttle)),
        option(TCA_TBF_BURST, throttle.burst.to_ne_bytes().to_vec()),
    ]));
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    let made = request(RouteNetlinkMessage::NewQueueDiscipline(message), flags);
    made.map(drop)
        .map_err(context(format_args!("throttle {name}")))
}

/// Takes the bucket away, and with it the frames that wait.
pub fn unthrottle(name: &str) -> io::Result<()> {
    let message = RouteNetlinkMessage::DelQueueDiscipline(root_queue(name)?);
    request(message, 0)
        .map(drop)
        .map_err(context(format_args!("unthrottle {name}")))
}

fn root_queue(name: &str) -> io::Result<TcMessage> {
    let mut message = TcMessage::with_index(link::index(name)? as i32);
    message.header.parent = TcHandle::ROOT;
    Ok(message)
}

fn option(kind: u16, value: Vec<u8>) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, value))
}

/// `struct tc_tbf_qopt`: rate and peak rate of 12 bytes each, limit, buffer, mtu. The buffer,
/// a time, is left to TCA_TBF_BURST; no peak rate, so no mtu either.
fn parameters(throttle: Throttle) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes[1] = TC_LINKLAYER_ETHERNET;
    bytes[8..12].copy_from_slice(&throttle.rate.to_ne_bytes());
    bytes[24..28].copy_from_slice(&throttle.waiting.to_ne_bytes());
    bytes
}
