//! The loop that runs every agent, by itself: crashes, troubles of the service, bad replies, limits, people, money and memory, with
//! a scripted model on a real Temporal server.

mod bad_replies;
mod cancelling;
mod errand;
mod faults;
mod guards;
mod hand_over;
mod kills;
mod memory;
mod money;
mod outputs;
mod steering;
