//! FreeSWITCH's Event Socket as values. Input: the bytes of a socket. Output: [`Frame`]s and [`Event`]s that borrow from
//! them, and commands as text. It does no I/O, has no clock, and knows no calls.
//!
//! Start at [`Decoder`]. [`originate`] makes the only command that contains numbers and names from outside.
//!
//! **Invariant:** no bytes from a PBX can make it panic or keep more than [`FRAME_BYTES_MAX`]. No value given to
//! [`originate`] can end or extend another value.

mod codec;
mod event;
mod originate;

pub use codec::{CodecError, Decoder, FRAME_BYTES_MAX, Frame};
pub use event::{Event, EventKind, Value};
pub use originate::{Unquotable, argument, originate};
