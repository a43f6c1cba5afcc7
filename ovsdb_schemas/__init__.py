"""The tables and columns used of OVN_Northbound and Open_vSwitch, and the check of a live server against them."""
