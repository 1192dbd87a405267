//! fail2ban with the files that come with the format.
