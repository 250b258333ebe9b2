//! Runs the production policies against modelled endpoints.
