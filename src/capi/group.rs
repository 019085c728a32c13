//! Opening all members of a fanout group at once.

use super::error::Place;
use super::handle::Handle;
use super::lifecycle::{pktring_close, start_with};
use super::wall;
use crate::activate::{activate_closed, open_gate};
use crate::config::Config;
use crate::error::{invalid, Error, Result};
use crate::fanout::{Fanout, MOST_MEMBERS};
use std::os::raw::c_int;
use std::ptr::NonNull;

/// Opens all members of a fanout group at once.
///
/// Every member is an active handle with the settings of a template. None receives anything
/// before all have joined, so that no member ever sees a packet that the complete group would
/// have given to another one: that is what joining one by one cannot do. Members are numbered as
/// in the array, unless the group existed before.
///
/// @param settings  a handle that is not active, set up like every member is to be. Where no
///                   pktring_set_fanout() named a group, the kernel chooses its number and the
///                   mode is PKTRING_FANOUT_HASH. It is not changed, does not become a member,
///                   and can be closed or used again afterwards.
/// @param members    receives count handles. Each is an ordinary handle of its own, for one
///                   thread each, and is closed with pktring_close(), or all of them with
///                   pktring_group_close().
/// @param count      1 to 65536; above 256 the group's max_members has to be set
/// @return 0; negative errno value as from pktring_activate(), with the text in
///         pktring_geterr(settings); -EBUSY also when the template is active. No member is left
///         open then, and the array is not changed.
#[no_mangle]
pub unsafe extern "C" fn pktring_group_open(
    settings: *mut Handle,
    members: *mut *mut Handle,
    count: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let template = match unsafe { Handle::from_c(settings) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let opened = match members.is_null() {
            true => Err(Error::Null("members")),
            false => open(template, count),
        };
        match opened {
            Ok(group) => {
                for (i, member) in group.into_iter().enumerate() {
                    // SAFETY: i < count, and by the caller's promise there are that many.
                    unsafe { members.add(i).write(member.keep()) };
                }
                0
            }
            Err(error) => template.fail(Place::Setup, &error),
        }
    })
}

/// Closes several handles, as pktring_close() does one, and sets their places in the array to
/// NULL.
///
/// @param members  array of count handles; NULL entries are skipped
/// @param count    number of entries
/// @return the sum of what pktring_close() returned for those that it closed; where it refused
///         one, that entry stays and the negative errno value is returned after all others were
///         closed; -EFAULT when members is NULL and count is not 0
#[no_mangle]
pub unsafe extern "C" fn pktring_group_close(members: *mut *mut Handle, count: u32) -> c_int {
    if members.is_null() {
        return match count {
            0 => 0,
            _ => -libc::EFAULT,
        };
    }
    let (mut left, mut refused) = (0, 0);
    for i in 0..count as usize {
        // SAFETY: i < count entries by the caller's promise, each NULL or a handle.
        unsafe {
            let member = members.add(i);
            match pktring_close(*member) {
                code if code < 0 => refused = code,
                frames => {
                    left += frames;
                    member.write(std::ptr::null_mut());
                }
            }
        }
    }
    match refused {
        0 => left,
        code => code,
    }
}

/// A handle that is destroyed again unless it is kept.
struct Member(NonNull<Handle>);

impl Member {
    fn new(config: Config) -> Result<Member> {
        let handle = NonNull::new(Handle::create(config)?);
        handle.map(Member).ok_or(Error::Panic)
    }

    fn handle(&self) -> &Handle {
        // SAFETY: from create; alive until this value is dropped or kept.
        unsafe { self.0.as_ref() }
    }

    fn keep(self) -> *mut Handle {
        let handle = self.0.as_ptr();
        std::mem::forget(self);
        handle
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: nobody else knows the handle.
        unsafe { Handle::destroy(self.0) };
    }
}

fn open(template: &Handle, count: u32) -> Result<Vec<Member>> {
    if template.is_active() {
        return Err(Error::State(
            "the template is active: a group is made of handles with its settings, not of itself",
        ));
    }
    if count == 0 || count > MOST_MEMBERS {
        return Err(invalid!(
            "a group of {count} members is out of range; 1 to {MOST_MEMBERS} are valid"
        ));
    }
    let mut config = template.config().clone();
    let unnamed = || Fanout::new(0, libc::PACKET_FANOUT_FLAG_UNIQUEID, 0, 0);
    let mut fanout = config.fanout.map_or_else(unnamed, Ok)?;
    let mut members = Vec::new();
    for _ in 0..count {
        config.fanout = Some(fanout);
        let member = Member::new(config.clone())?;
        start_with(member.handle(), activate_closed)?;
        if let Some(joined) = member.handle().session()?.fanout {
            fanout = fanout.numbered(joined.group);
        }
        members.push(member);
    }
    for member in &members {
        open_gate(member.handle().session()?, &config)?;
    }
    Ok(members)
}
