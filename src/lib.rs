pub mod roi;
