//! One connection whose bytes mean nothing to us.
