// columns — puts columns of their own into a product: the logits of tokens whose rows of the head train by themselves.
//   forward   z[t, columns[i]] = p[t, i]
//   backward  dp[t, i] = dz[t, columns[i]], and 0 in dz from then on: what stood there no longer counts
// z, dz [rows, width], in place; p, dp [rows, count]; columns [count], all different.
struct Params {
  rows_extent: u32,
  width: u32,
  count: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> p: array<f32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;
@group(0) @binding(5) var<storage, read_write> dz: array<f32>;
@group(0) @binding(6) var<storage, read_write> dp: array<f32>;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let t = i / params.count;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  z[t * params.width + columns[i % params.count]] = p[i];
}

@compute @workgroup_size(LANES)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
            @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let t = i / params.count;
  if (t >= extent(params.rows_extent)) {
    return;
  }
  let at = t * params.width + columns[i % params.count];
  dp[i] = dz[at];
  dz[at] = 0.0;
}
