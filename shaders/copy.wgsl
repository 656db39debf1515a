// copy — y = x, for an in-place update whose old value is still needed: the plan copies it first.
//   backward  absent: the plan inserts copies after the trace has been differentiated
// x, y [rows, width].
struct Params {
  rows_extent: u32,
  width: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn copy(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i < extent(params.rows_extent) * params.width) {
    y[i] = x[i];
  }
}
