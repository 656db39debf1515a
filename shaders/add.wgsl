// add — y = a + b, the residual connection where no product could add it on its way.
//   forward   y = a + b
//   backward  absent: da = db = dy, the same value
// a, b, y [rows, width].
struct Params {
  rows_extent: u32,
  width: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i < extent(params.rows_extent) * params.width) {
    y[i] = a[i] + b[i];
  }
}
