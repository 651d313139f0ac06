//! What each section of the page says, by its examples: a file for each group of sections.

mod auctions;
mod books;
mod day;
mod desk;
mod mass;
mod orders;
mod packets;
mod prevention;
mod random;
mod risk;
mod trading;
