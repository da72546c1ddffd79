"""`consumer doctor`: every precondition on the three servers, judged, each with the statement that fixes it.

`…_facts` collect what a server says and judge nothing; `mysql`, `kafka` and `postgres` judge facts and touch no server;
`examine` puts them together for `consumer doctor`, `quick` what `read` and `apply` cannot do without.
"""
