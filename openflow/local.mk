# openflow
