"""What works on this machine and what does not: packages, their known quarrels, and whether streams travel.

`examine` tries every package in a process of its own and judges what came of it by the data in `packages` and `known`;
`streams` decodes one stream as other machines would.
"""
