//! The simulated switch as a driver, in real or accelerated time.
