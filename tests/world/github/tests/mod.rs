//! The stand-in, used as the product and people use it.
