// lora_embedding — the first half of LoRA on an embedding: its input is one-hot, so x·Aᵀ is a look-up.
//   forward     p  = A[:, id]
//   backward_a  dA[:, id] += Σ dp of the rows that have this id
// The other half is that of every module: `up`, `backward_p` and `backward_b` of lora.wgsl. An id passes no gradient.
// ids [rows], p, dp [rows, rank]; A [rank, count] lies in an arena, reached by offset, and dA like it.
struct Params {
  rows_extent: u32,
  rank: u32,
  count: u32,
  a: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> arena: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> p: array<f32>;
@group(0) @binding(6) var<storage, read> dp: array<f32>;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let t = i / params.rank;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  p[i] = arena[params.a + i % params.rank * params.count + ids[t]];
}

// An invocation a row. The first row of an id adds for all of them, in their order: nobody else writes there.
@compute @workgroup_size(LANES)
fn backward_a(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let t = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  if (t >= rows) {
    return;
  }
  let id = ids[t];
  for (var other = 0u; other < t; other++) {
    if (ids[other] == id) {
      return;
    }
  }
  for (var other = t; other < rows; other++) {
    if (ids[other] != id) {
      continue;
    }
    for (var j = 0u; j < params.rank; j++) {
      gradients[params.a + j * params.count + id] += dp[other * params.rank + j];
    }
  }
}
