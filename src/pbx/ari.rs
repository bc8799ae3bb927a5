//! Asterisk over ARI.
