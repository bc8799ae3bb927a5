//! FreeSWITCH's Event Socket as values. In: bytes of a socket. Out: [`Frame`]s and [`Event`]s that borrow from them, and
//! commands as text. Touches no socket, keeps no time, knows no call.
//!
//! Start at [`Decoder`]; [`originate`] makes the one command that carries other people's words.
//!
//! **Invariant:** no bytes from a switch can make it panic or keep more than [`FRAME_BYTES_MAX`], and no value given to
//! [`originate`] can end or extend another.

mod codec;
mod event;
mod originate;

pub use codec::{CodecError, Decoder, FRAME_BYTES_MAX, Frame};
pub use event::{Event, EventKind, Value};
pub use originate::{Unquotable, argument, originate};
